"""What OpenAI's clients send besides, and what of it asks for nothing: null, [] and {}, and the values by which a field changes nothing.

Those are left out before a request is read. Another value is a demand that can't be met, and is refused by name; never ignored.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

ANY = object()
"""Whatever it is, it says nothing about the answer."""
FIELDS: dict[str, tuple[Any, ...]] = {
    "tools": (),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (ANY,),
    "functions": (),
    "function_call": ("none", "auto"),
    "logit_bias": (),
    "store": (ANY,),  # every chat is kept in the history
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "prompt_cache_key": (ANY,),
    "prompt_cache_retention": (ANY,),
    "safety_identifier": (ANY,),
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
    "request_id": (ANY,),
    "cache_salt": (ANY,),
}
STREAM_OPTIONS = {"include_obfuscation": (ANY,), "continuous_usage_stats": (False,)}


def is_empty(value: Any) -> bool:
    return value is None or value == [] or value == {}


def without_nothing(data: Any, known: Mapping[str, Any], fields: Mapping[str, tuple[Any, ...]] = FIELDS) -> Any:
    """The request without what asks for nothing. `known`: the fields that are read. Raises ValidationError for what can't be met."""
    if not isinstance(data, Mapping):
        return data
    refused = {
        name: [f"'{name}' can't be used here; leave it out."]
        for name, value in data.items()
        if name in fields and name not in known and not asks_nothing(value, fields[name])
    }
    if refused:
        raise ValidationError(refused, code="unsupported")
    return {name: value for name, value in data.items() if name in known or not (name in fields or is_empty(value))}


def asks_nothing(value: Any, harmless: tuple[Any, ...]) -> bool:
    return is_empty(value) or any(each is ANY or equal(each, value) for each in harmless)


def equal(one: Any, other: Any) -> bool:
    """1 and 1.0 are, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
