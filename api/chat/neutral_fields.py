"""OpenAI and vLLM fields that this server does not implement, with their neutral values: null, [], {}, and values that change nothing.

Neutral values are removed before validation. Any other value is refused by name, never ignored.
"""

from collections.abc import Container, Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

ANY_VALUE = object()
"""Every value of the field is neutral."""
NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "functions": (),
    "function_call": ("none", "auto"),
    "store": (ANY_VALUE,),  # every chat is kept in the history
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "reasoning_effort": ("none", "medium"),  # the second is what OpenAI's documents call the default
    "verbosity": ("medium",),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "prompt_cache_key": (ANY_VALUE,),
    "prompt_cache_retention": (ANY_VALUE,),
    "safety_identifier": (ANY_VALUE,),
    # vLLM's, llama.cpp's, text-generation-inference's
    "best_of": (1,),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "early_stopping": (False,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "stop_token_ids": (),
    "bad_words": (),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (False,),
    "echo": (False,),
    "chat_template": (),
    "chat_template_kwargs": (),
    "documents": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "return_tokens_as_token_ids": (False,),
    "return_token_ids": (False,),
    "prompt_logprobs": (False,),
    "truncate_prompt_tokens": (),
    "priority": (0,),
    "request_id": (ANY_VALUE,),
    "cache_salt": (ANY_VALUE,),
}
STREAM_OPTIONS = {"include_obfuscation": (ANY_VALUE,), "continuous_usage_stats": (False,)}


COMPLETION_VALUES = {**NEUTRAL_VALUES, "add_special_tokens": (True,)}
"""Of /v1/completions, whose prompts begin as the tokenizer begins a text."""


def is_empty(value: object) -> bool:
    return value is None or value == [] or value == {}


def drop_neutral_fields(data: object, known: Container[str], fields: Mapping[str, tuple[Any, ...]] = NEUTRAL_VALUES) -> object:
    """The request without neutral values of unimplemented fields. `known`: implemented fields. Raises ValidationError (unsupported)."""
    if not isinstance(data, Mapping):
        return data
    refused = {
        name: [f"'{name}' can't be used here; leave it out."]
        for name, value in data.items()
        if name in fields and name not in known and not is_neutral(value, fields[name])
    }
    if refused:
        raise ValidationError(refused, code="unsupported")
    return {name: value for name, value in data.items() if name in known or not (name in fields or is_empty(value))}


def is_neutral(value: object, neutral_values: tuple[Any, ...]) -> bool:
    return is_empty(value) or any(neutral is ANY_VALUE or is_same_json(neutral, value) for neutral in neutral_values)


def is_same_json(one: object, other: object) -> bool:
    """1 and 1.0 are, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def drop_off_values(data: dict[str, Any]) -> dict[str, Any]:
    """Without nulls, and without the values by which vLLM's and SillyTavern's fields say "off"."""
    given = {name: value for name, value in data.items() if value is not None}
    off = {name for name in ("top_k", "min_p") if given.get(name, 1) <= 0}
    off |= {"repetition_penalty"} if given.get("repetition_penalty") == 1 else set()
    return {name: value for name, value in given.items() if name not in off}
