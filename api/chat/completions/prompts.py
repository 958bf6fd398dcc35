"""The prompts of a completion: texts and token ids, one or several."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from tokenizers import Tokenizer

from api.catalog import UnknownModel
from api.chat.completions.spec import MOST_PROMPTS
from api.chat.limits import MAX_CHARACTERS, too_long
from api.chat.messages import clean_text
from api.json_types import JsonObject
from config.catalog import get_catalog

TOKENS: JsonObject = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
PROMPT: JsonObject = {
    "oneOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": MOST_PROMPTS, "items": {"oneOf": [{"type": "string"}, TOKENS]}},
        TOKENS,
    ],
    "description": f"A text or token ids of the model's tokenizer; or a list of up to {MOST_PROMPTS} of these.",
    "examples": ["A darkroom is"],
}


@extend_schema_field(PROMPT)
class PromptField(serializers.Field[list[Any], object, list[Any], object]):
    """Validates to a list of texts and lists of token ids."""

    def to_internal_value(self, data: object) -> list[Any]:
        is_list = isinstance(data, list) and not is_tokens(data)
        prompts: Any = data if is_list else [data]
        if not prompts:
            raise ValidationError("There is no prompt.", code="empty")
        if len(prompts) > MOST_PROMPTS:
            raise ValidationError(f"There are {len(prompts)} prompts; {MOST_PROMPTS} is the limit.", code="too_many")
        if (size := sum(len(one) for one in prompts if isinstance(one, str | list))) > MAX_CHARACTERS:
            raise too_long("prompts", size, self.root.initial_data.get("model"))
        read = []
        for place, prompt in enumerate(prompts):
            try:
                read.append(read_prompt(prompt))
            except ValidationError as error:
                raise ValidationError({str(place): error.detail}) if is_list else error from None
        return read

    def to_representation(self, value: list[Any]) -> list[Any]:
        return value


def is_tokens(data: object) -> bool:
    return isinstance(data, list) and bool(data) and all(isinstance(one, int) and not isinstance(one, bool) for one in data)


def read_prompt(prompt: Any) -> str | list[int]:
    if isinstance(prompt, str):
        return clean_text(prompt)
    if is_tokens(prompt):
        return prompt  # type: ignore[no-any-return]
    raise ValidationError("Must be a text, or a list of token ids.")


def spelled_out(prompts: list[Any], model: str) -> list[JsonObject]:
    """As CompletionSpec has them: token ids with the text that they are. Raises ValidationError."""
    tokenizer = None if all(isinstance(prompt, str) for prompt in prompts) else tokenizer_of(model)
    return [{"text": prompt} if isinstance(prompt, str) else decoded(prompt, tokenizer) for prompt in prompts]


def decoded(tokens: list[int], tokenizer: Any) -> JsonObject:
    known = tokenizer.get_vocab_size()
    if unknown := next((token for token in tokens if not 0 <= token < known), None):
        raise ValidationError({"prompt": [f"There is no token {unknown}; this model's are 0 to {known - 1}."]})
    return {"text": tokenizer.decode(tokens, skip_special_tokens=False).replace("\x00", "\ufffd"), "tokens": tokens}


def tokenizer_of(model: str) -> Tokenizer:
    """Raises ValidationError where it is not here: then nobody could read, or hold against rules, what is asked."""
    from api.downloads.store import ModelStore  # the hub's client takes a third of a second to import

    try:
        folder = ModelStore(settings.MODELS_DIR).folder(get_catalog().get(model))
    except UnknownModel:
        folder = None
    file = folder / "tokenizer.json" if folder else None
    if file is None or not file.is_file():
        detail = f"Token ids are read by the model's tokenizer, and that of {model} is not on this server: send a text."
        raise ValidationError({"prompt": [detail]}, code="unsupported")
    return load_tokenizer(file, file.stat().st_mtime)


@lru_cache(maxsize=1)
def load_tokenizer(file: Path, changed: float) -> Tokenizer:
    return Tokenizer.from_file(str(file))
