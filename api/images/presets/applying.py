"""A request that begins with a preset: what the preset sets stands for what the client left open, and is fixed unless it says otherwise."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from api.errors import DarkroomError
from api.images.models import PresetVersion
from api.images.presets.services import find_version
from api.json_types import JsonObject

PRESET = "preset"
TEXTS = ("prompt", "negative_prompt")
"""Fields in which a preset may leave a place for the client's words: `{prompt}` in the prompt."""

ReadValue = Callable[[str, object], object]
"""What the value of a field means, by the field's name. Raises ValidationError."""


def place_in(name: str) -> str:
    return f"{{{name}}}"


@dataclass(frozen=True)
class AppliedPreset:
    version: PresetVersion

    def __str__(self) -> str:
        return str(self.version)

    @property
    def request(self) -> Mapping[str, Any]:
        return self.version.request  # type: ignore[no-any-return]

    def apply(self, data: JsonObject, names: Collection[str], read: ReadValue) -> JsonObject:
        """`data`: what the client sent; `names`: the fields of its request. Raises ValidationError."""
        foreign = [name for name in self.request if name not in names]
        if foreign:
            detail = f"The preset '{self}' sets {', '.join(foreign)}: send the request to /api/img2img/."
            raise ValidationError({PRESET: [detail]}, code="other_kind")
        merged = {**self.request, **data, PRESET: str(self)}
        errors: dict[str, list[ErrorDetail]] = {}
        for name, value in self.request.items():
            if self.has_place(name):
                merged[name] = self.fill(name, data, errors)
            elif name in data and name not in self.version.parameters and not are_same(data[name], value, name, read):
                errors[name] = [ErrorDetail(f"The preset '{self}' fixes it. {self.describe_open()}", "fixed_by_preset")]
        if errors:
            raise ValidationError(errors)
        return merged

    def has_place(self, name: str) -> bool:
        value = self.request.get(name)
        return name in TEXTS and isinstance(value, str) and place_in(name) in value

    def fill(self, name: str, data: JsonObject, errors: dict[str, list[ErrorDetail]]) -> object:
        words = data.get(name, "" if name != "prompt" else None)
        if words is None:
            errors[name] = [ErrorDetail(f"The preset '{self}' has a place for your words: send them here.", "required")]
        return self.request[name].replace(place_in(name), words) if isinstance(words, str) else words

    def describe_open(self) -> str:
        parameters = dict.fromkeys([*self.version.parameters, *(name for name in TEXTS if self.has_place(name))])
        return f"A request may change: {', '.join(parameters)}." if parameters else "A request may change nothing that it sets."

    def describe_errors(self, errors: Any, sent: Collection[str]) -> Any:
        """`errors` by field, with a word to those of fields that this preset set."""
        if not isinstance(errors, Mapping):
            return errors
        return {
            name: self._add_name(detail) if name in self.request and (name not in sent or self.has_place(name)) else detail
            for name, detail in errors.items()
        }

    def _add_name(self, detail: Any) -> Any:
        if isinstance(detail, Mapping):
            return {name: self._add_name(one) for name, one in detail.items()}
        if isinstance(detail, list):
            return [self._add_name(one) for one in detail]
        said = f"{detail}" if str(self) in str(detail) else f"{detail} (Set by the preset '{self}'.)"
        return ErrorDetail(said, getattr(detail, "code", "invalid"))


def are_same(sent: object, value: object, name: str, read: ReadValue) -> bool:
    """Whether both mean the same in this field: a form has texts for numbers, and a default may be written out."""
    if sent == value:
        return True
    try:
        return bool(read(name, sent) == read(name, value))
    except ValidationError:
        return False


def find_preset(data: Mapping[str, Any], owner_key: str | None) -> AppliedPreset | None:
    """None where the request names none, or something that its field refuses. Raises ValidationError."""
    name = data.get(PRESET)
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)  # as the field reads a number
    if not isinstance(name, str) or not name.strip():
        return None
    try:
        return AppliedPreset(find_version(name.strip(), owner_key))
    except DarkroomError as error:
        raise ValidationError({PRESET: [error.detail]}, code=error.code) from None
