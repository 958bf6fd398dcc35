"""What a client sends: JSON ({"inputs", "parameters"}) or a picture's bytes, with whatever Content-Type, or none.

The client sends pictures without one, and curl calls JSON and pictures alike a form where nothing else is said; so the bytes decide.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.exceptions import UnsupportedMediaType, ValidationError
from rest_framework.request import Request

from api.files.decoding import count_pixels
from api.files.errors import InvalidImage
from api.files.inputs import decode_input, parse_id
from api.json_types import JsonObject
from api.strict import AlwaysJson, JsonParser, unknown_names

BESIDE = ("question", "image")
KNOWN = ("inputs", "parameters", "options", *BESIDE, "stream")
"""What may stand beside each other in a body."""
OPTIONS = ("use_cache", "wait_for_model", "use_gpu", "dont_load_model", "retry_on_error")
"""Of the body's `options`: what older clients send. Every request here waits for its model, and nothing is cached."""
LEADING_SPACE = b" \t\r\n"


class BodyParser(JsonParser):
    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """An UploadedFile of the picture's bytes, or what the JSON says."""
        data: bytes = stream.read()
        if (media_type or "").startswith("multipart/"):
            detail = "The Content-Type 'multipart/form-data' is not read here: send JSON, or a picture's bytes as the body."
            raise UnsupportedMediaType(media_type, detail)
        is_json = (media_type or "").split(";")[0].strip().lower() == "application/json"
        if is_json or data.removeprefix(b"\xef\xbb\xbf").lstrip(LEADING_SPACE)[:1] == b"{":
            return super().parse(io.BytesIO(data))
        return SimpleUploadedFile("upload", data)


class AnyBody(AlwaysJson):
    """One parser for every Content-Type."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return next(iter(parsers))


@dataclass(frozen=True)
class Body:
    inputs: Any
    """A text, a picture as any field for images takes it, or None where it was not sent."""
    question: Any
    parameters: JsonObject
    beside: tuple[str, ...] = ()
    """Which of `question` and `image` it has, beside `inputs` or in it."""


def read_body(data: Any) -> Body:
    """Raises ValidationError."""
    if isinstance(data, SimpleUploadedFile):
        return Body(data, None, {})
    if not isinstance(data, Mapping):
        raise ValidationError({"inputs": ["Send a JSON object with `inputs`, or a picture's bytes."]})
    given = {name: value for name, value in data.items() if not is_neutral(value)}
    if unknown := unknown_names(given, list(KNOWN), "field"):
        raise ValidationError(unknown, code="unknown_field")
    if given.get("stream"):
        raise ValidationError({"stream": ["Nothing is streamed at this address."]}, code="unsupported")
    check_options(read_object("options", given.get("options")))
    inputs, parts = given.get("inputs"), {name: given[name] for name in BESIDE if name in given}
    if isinstance(inputs, Mapping):
        parts, inputs = {**parts, **read_parts(inputs, parts)}, None
    picture = parts.get("image") if inputs is None else inputs
    return Body(picture, parts.get("question"), read_object("parameters", given.get("parameters")), tuple(parts))


def read_parts(inputs: Mapping[str, Any], parts: JsonObject) -> JsonObject:
    """Of `inputs` that is an object. `parts`: what stands beside it. Raises ValidationError."""
    inside = read_object("inputs", inputs)
    errors = unknown_names(inside, list(BESIDE), "field")
    if errors:
        raise ValidationError({f"inputs.{name}": detail for name, detail in errors.items()}, code="unknown_field")
    for name, value in inside.items():
        if parts.get(name, value) != value:
            raise ValidationError({name: ["Is said in inputs, too, and otherwise."]}, code="repeated")
    return inside


def read_object(name: str, value: Any) -> JsonObject:
    if not isinstance(value, Mapping | None):
        raise ValidationError({name: ["Must be a JSON object."]})
    return {key: one for key, one in (value or {}).items() if not is_neutral(one)}


def check_options(options: JsonObject) -> None:
    if unknown := unknown_names(options, list(OPTIONS), "option"):
        raise ValidationError({f"options.{name}": detail for name, detail in unknown.items()}, code="unknown_field")


def is_neutral(value: object) -> bool:
    """Asks for nothing."""
    return value is None or value == [] or value == {}


def is_picture(value: object) -> bool:
    """Whether `inputs` is a picture rather than a text; a damaged one may count as a text."""
    if isinstance(value, SimpleUploadedFile) or parse_id(value):
        return True
    if not isinstance(value, str) or value.lstrip()[:5].lower() == "data:":
        return isinstance(value, str)
    try:
        return "://" not in value and count_pixels(decode_input(value)) > 0
    except InvalidImage:
        return False
