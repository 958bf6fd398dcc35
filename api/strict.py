"""What every request of ours has in common: unknown fields are errors, pages have bounds, text has no NUL."""

import difflib
import io
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from api.form_data import read_form


def nearest(name: str, known: list[str]) -> str:
    """' Did you mean …?' for a word that is close to a known one, else the known ones."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(word) for word in close)}?"
    return f" Known: {', '.join(known)}." if 0 < len(known) <= 40 else ""


class AlwaysJson(BaseContentNegotiation):
    """We speak JSON, whatever an <img> tag or an event stream's client says it accepts: never a 406."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> Any:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class JsonParser(JSONParser):
    """JSON that is nested more deeply than Python can follow is a 400, like any other that can't be read."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None


def parse_json_text(text: str) -> Any:
    """A field of a form that holds JSON, by the rules of a body. Raises ParseError."""
    return JsonParser().parse(io.BytesIO(text.encode()))


class StrictSerializer(serializers.Serializer[Any]):
    """A field that is not declared is a 400 that names it: silently dropped parameters are what people complain about most.

    A form is read as the JSON that it stands for. Null means "not given" in every optional field; the few to which null says something
    else declare `allow_null`.
    """

    default_error_messages = {"invalid": "Must be a JSON object, not {datatype}."}

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        optional = {name: field for name, field in fields.items() if not field.required and not field.read_only}
        self.absent_if_null = {name for name, field in optional.items() if not field.allow_null}
        for name in self.absent_if_null:
            fields[name].allow_null = True  # so that the documentation says it, too
        return fields

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, MultiValueDict):
            data = read_form(data, self.fields, parse_json_text)
        if isinstance(data, Mapping):
            known = [name for name, field in self.fields.items() if not field.read_only]
            unknown = {str(name): [f"Unknown field.{nearest(str(name), known)}"] for name in data if name not in self.fields}
            if unknown:
                raise ValidationError(unknown, code="unknown_field")
            data = {name: value for name, value in data.items() if value is not None or name not in self.absent_if_null}
        return super().to_internal_value(data)


class FiniteFloatField(serializers.FloatField):
    """A float that is a number: 'nan' passes every comparison that a range check makes."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if isinstance(data, bool) or not math.isfinite(value):
            raise ValidationError("A valid number is required.", code="invalid")
        return value


class NewestFirst(CursorPagination):
    """Cursor pages by id (UUIDv7), newest first: they neither drift nor slow down with the page's number."""

    ordering = "-id"
    page_size = 20
    page_size_query_param = "limit"
    max_page_size = 100
    cursor_query_param = "cursor"
    invalid_cursor_message = "The cursor is not one that a page of ours gave."

    def get_page_size(self, request: Request) -> int:
        value = request.query_params.get("limit")
        if value is None:
            return self.page_size
        if not value.isascii() or not value.isdigit() or len(value) > 6 or not 1 <= int(value) <= self.max_page_size:
            raise ValidationError({"limit": [f"Must be a whole number from 1 to {self.max_page_size}."]})
        return int(value)

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and self.get_ordering_field() == "id" and cursor.position is not None:
                uuid.UUID(str(cursor.position))
        except Exception:
            raise ValidationError({"cursor": [self.invalid_cursor_message]}) from None
        return cursor

    def get_ordering_field(self) -> str:
        return (self.ordering if isinstance(self.ordering, str) else self.ordering[0]).lstrip("-")
