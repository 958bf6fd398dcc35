"""What every request of ours has in common: unknown fields are errors, pages have bounds, text has no NUL."""

import difflib
import io
import math
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, ClassVar, NoReturn

from django.db.models import Model
from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from api.form_data import read_form
from api.json_text import InvalidJson, read_json

LONGEST_NAME = 100
MOST_NAMED = 20
"""Unknown fields that one answer names: a body of 32 MiB may have a million, and each is compared with the known ones."""


def nearest(name: str, known: list[str]) -> str:
    """' Did you mean …?' for a word that is close to a known one, else the known ones."""
    close = difflib.get_close_matches(name[:LONGEST_NAME], known, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(word) for word in close)}?"
    return f" Known: {', '.join(known)}." if 0 < len(known) <= 40 else ""


class AlwaysJson(BaseContentNegotiation):
    """We speak JSON, whatever an <img> tag or an event stream's client says it accepts: never a 406."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> object:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class JsonWithoutType(AlwaysJson):
    """A body without a Content-Type is read as JSON: for addresses whose clients leave it out."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return super().select_parser(request, parsers) if request.content_type else JsonParser()


class JsonParser(JSONParser):
    """Every view's JSON is read by this one, or by a subclass of it (a test walks the URL configuration)."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """UTF-8, whatever the Content-Type's charset is: RFC 8259 knows no other."""
        try:
            return read_json(stream.read())
        except InvalidJson as error:
            raise as_refusal(error) from None


def as_refusal(error: InvalidJson) -> ParseError | ValidationError:
    return ValidationError({error.field: [error.detail]}, error.code) if error.field else ParseError(error.detail)


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

    def to_internal_value(self, data: object) -> dict[str, object]:
        if isinstance(data, MultiValueDict):
            data = read_form(data, self.fields, parse_json_text)
        if isinstance(data, Mapping):
            known = [name for name, field in self.fields.items() if not field.read_only]
            if unknown := unknown_names(data, known, "field"):
                raise ValidationError(unknown, code="unknown_field")
            data = {name: value for name, value in data.items() if value is not None or name not in self.absent_if_null}
            data = self.complete(data)
        return super().to_internal_value(data)

    def complete(self, data: dict[str, Any]) -> dict[str, Any]:
        """What was sent, before its fields are read; a subclass adds what the client left to another request."""
        return data


def unknown_names(given: Iterable[object], known: list[str], what: str) -> dict[str, list[str]]:
    """An error for each name that isn't known, the first MOST_NAMED of them."""
    unknown = (str(name) for name in given if name not in known)
    return {name[:LONGEST_NAME]: [f"Unknown {what}.{nearest(name, known)}"] for name in islice(unknown, MOST_NAMED)}


class FiniteFloatField(serializers.FloatField):
    """A float that is a number: 'nan' passes every comparison that a range check makes."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if isinstance(data, bool) or not math.isfinite(value):
            raise ValidationError("A valid number is required.", code="invalid")
        return value


class ChoiceField(serializers.ChoiceField):
    """One of a few: who sends another word is told which there are."""

    def fail(self, key: str, **values: Any) -> NoReturn:
        if key != "invalid_choice":
            super().fail(key, **values)
        raise ValidationError(describe_choices(values["input"], self.choices), code=key)


def describe_choices(sent: object, known: Iterable[object]) -> str:
    return f'"{shorten_name(sent)}" is not a valid choice. Known: {", ".join(map(str, known))}.'


def shorten_name(sent: object) -> str:
    text = str(sent)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


class KnownNameField(serializers.CharField):
    """A name of something that is here: an unknown one is refused with the nearest."""

    def __init__(self, *, known: Collection[str], **options: Any) -> None:
        super().__init__(**options)
        self.known = known

    def run_validation(self, data: object = serializers.empty) -> str | None:
        name: str | None = super().run_validation(data)
        if name is not None and name not in self.known:
            detail = f"There is no {self.field_name} '{name}'.{nearest(name, list(self.known))}"
            raise ValidationError(detail, code=f"unknown_{self.field_name}")
        return name


class TextMapField(serializers.DictField):
    """An object whose names the client chooses."""

    def __init__(self, *, max_items: int | None, max_name_length: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.max_items, self.max_name_length = max_items, max_name_length

    def to_internal_value(self, data: Any) -> dict[str, str]:
        texts: dict[str, str] = super().to_internal_value(data)
        too_many = self.max_items is not None and len(texts) > self.max_items
        if too_many or (self.max_name_length is not None and any(len(name) > self.max_name_length for name in texts)):
            raise ValidationError(f"Up to {self.max_items} pairs, their names up to {self.max_name_length} characters.")
        return texts


class NewestFirst(CursorPagination):
    """Cursor pages by id (UUIDv7), newest first: they neither drift nor slow down with the page's number."""

    ordering = "-id"
    page_size = 20
    page_size_query_param = "limit"
    max_page_size = 100
    cursor_query_param = "cursor"
    query_parameters: ClassVar[tuple[str, ...]] = ("limit", "cursor")
    offset_cutoff = 1_000_000  # rows with the same value in the column that orders them
    invalid_cursor_message = "The cursor is not one that a page of ours gave."

    def get_page_size(self, request: Request) -> int:
        value = request.query_params.get("limit")
        if value is None:
            return self.page_size
        if not value.isascii() or not value.isdigit() or len(value) > 6 or not 1 <= int(value) <= self.max_page_size:
            raise ValidationError({"limit": [f"Must be a whole number from 1 to {self.max_page_size}."]})
        return int(value)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.model: type[Model] = queryset.model
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                self.check_position(cursor.position)
        except Exception:
            raise ValidationError({"cursor": [self.invalid_cursor_message]}) from None
        return cursor

    def check_position(self, position: object) -> None:
        """Raises where it is no value of the column that orders the rows."""
        first = self.ordering if isinstance(self.ordering, str) else self.ordering[0]
        field: Any = self.model._meta.get_field(first.lstrip("-"))
        value = field.to_python(position)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(position)
