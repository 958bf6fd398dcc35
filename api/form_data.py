"""Forms (multipart and urlencoded) in the shape of JSON: what a client can say in the one it can say in the other.

A list is its field repeated, or one JSON text; an object is JSON text. A field that is left empty is not given. What can't be read is an
error of its field, never dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent, TooManyFilesSent
from django.http.multipartparser import MultiPartParser as DjangoMultiPartParser
from django.http.multipartparser import MultiPartParserError
from django.utils.datastructures import MultiValueDict
from rest_framework import parsers, serializers
from rest_framework.exceptions import ParseError, ValidationError

NUMBERED = re.compile(r"(?P<list>[a-z_]+)_(?P<field>[a-z]+)_(?P<number>[0-9]{1,3})")
REPLACEMENT = "\ufffd"
"""What Django's parsers put in the place of bytes that are not UTF-8."""

ReadJson = Callable[[str], object]


def read_form(form: "MultiValueDict[str, Any]", fields: Mapping[str, object], read_json: ReadJson) -> dict[str, Any]:
    """What the same request would be as JSON. Raises ValidationError with every field that can't be read."""
    plain: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    numbered: list[tuple[str, re.Match[str], Any]] = []
    for name, values in form.lists():
        field = fields.get(name)
        if field is None and (match := numbered_part(name, fields)):
            numbered.append((name, match, values[-1]))
            continue
        if values == [""] and field is not None and not takes_empty(field):
            continue
        try:
            plain[name] = FieldReader(field, read_json).read(values)
        except ValidationError as error:
            errors[name] = error.detail
    for name, match, value in numbered:
        if refusal := put_into_list(plain, match, value):
            errors[name] = [refusal]
    if errors:
        raise ValidationError(errors)
    return plain


def numbered_part(name: str, fields: Mapping[str, Any]) -> "re.Match[str] | None":
    """`control_image_0` is the field `image` of the first of `control`: where JSON has a picture inside of a list, a form has a file."""
    match = NUMBERED.fullmatch(name)
    owner = fields.get(match["list"]) if match else None
    if (
        match is None
        or not isinstance(owner, serializers.ListSerializer)
        or not isinstance(owner.child, serializers.Serializer)
    ):
        return None
    return match if match["field"] in owner.child.fields else None


def put_into_list(plain: dict[str, Any], match: "re.Match[str]", value: object) -> str:
    """A sentence where it can't be."""
    entries, number = plain.get(match["list"], []), int(match["number"])
    if not isinstance(entries, list) or number >= len(entries) or not isinstance(entries[number], dict):
        return f"There is no {match['list']}[{number}]: the field `{match['list']}` has the objects, as JSON."
    if entries[number].get(match["field"]) is not None:
        return f"{match['list']}[{number}] has its `{match['field']}` already."
    entries[number][match["field"]] = value
    return ""


def takes_empty(field: Any) -> bool:
    """An empty value means something, or is an error: everywhere else it is how a form leaves a field out."""
    return field.required or getattr(field, "allow_blank", False)


class FieldReader:
    """Reads the values that a form has for one field. An unknown field (None) is left for its serializer to refuse."""

    def __init__(self, field: object, read_json: ReadJson) -> None:
        self.field, self.read_json = field, read_json

    def read(self, values: Sequence[object]) -> Any:
        for value in values:
            check_encoding(value)
        if isinstance(self.field, serializers.ListSerializer):
            return self.objects(values)
        if isinstance(self.field, serializers.ListField):
            return self.texts(values)
        value = self.only(values)
        if isinstance(self.field, serializers.BaseSerializer | serializers.DictField | serializers.JSONField):
            return self.json(value)
        may_be_object = getattr(self.field, "may_be_object", False)
        return self.json(value) if may_be_object and (begins_with(value, "{") or value == "null") else value

    def only(self, values: Sequence[object]) -> Any:
        if len(values) > 1:
            raise ValidationError(f"This field was sent {len(values)} times; it takes one value.", code="repeated")
        return values[0]

    def objects(self, values: Sequence[object]) -> Any:
        """One JSON list, or one JSON object each time."""
        read = [self.json(value) for value in values]
        if len(read) == 1 and (read[0] is None or isinstance(read[0], list)):
            return read[0]
        if any(isinstance(one, list) for one in read):
            raise ValidationError("Send one JSON list, or the field once for each object.", code="repeated")
        return read

    def texts(self, values: Sequence[Any]) -> Any:
        """One JSON list, or one value each time."""
        if len(values) == 1 and begins_with(values[0], "["):
            try:
                return self.json(values[0])
            except ValidationError:
                detail = 'What begins with "[" must be a JSON list; a text that does is sent inside of one: ["[…] …"].'
                raise ValidationError(detail, code="invalid") from None
        if len(values) == 1:
            return values
        if any(begins_with(value, "[") and self.is_list(value) for value in values):
            raise ValidationError("Send one JSON list, or the field once for each value.", code="repeated")
        return values

    def is_list(self, text: str) -> bool:
        try:
            return isinstance(self.json(text), list)
        except ValidationError:
            return False

    def json(self, text: object) -> Any:
        if not isinstance(text, str):
            raise ValidationError("Must be JSON text, not a file.", code="invalid")
        try:
            return self.read_json(text)
        except ParseError as error:
            raise ValidationError(f"Must be JSON: {error.detail}", code="invalid") from None


def begins_with(value: object, mark: str) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(mark)


def check_encoding(value: object) -> None:
    if isinstance(value, str) and REPLACEMENT in value:
        raise ValidationError("The text of a form must be UTF-8.", code="not_utf8")


# ---------------------------------------------------------------- from bytes


class FormParser(parsers.FormParser):
    def parse(self, *args: Any, **kwargs: Any) -> Any:
        with too_many_is_named():
            return super().parse(*args, **kwargs)


class MultiPartParser(parsers.MultiPartParser):
    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> parsers.DataAndFiles:
        request = parser_context["request"]
        meta = {**request.META, "CONTENT_TYPE": media_type}
        try:
            with too_many_is_named():
                data, files = Parts(meta, stream, request.upload_handlers, parser_context["encoding"]).parse()
        except MultiPartParserError as error:
            raise ParseError(f"The multipart form can't be read: {error}") from None
        return parsers.DataAndFiles(data, files)


class Parts(DjangoMultiPartParser):
    """Django's drops what it can't read: parts without a name, headers that are no UTF-8 or end in LF alone, the end of a form
    that was cut off. Here each of them is an error.
    """

    _input_data: Any
    _boundary: bytes
    _content_length: int

    def _parse(self) -> tuple[Any, Any]:
        # Of Django's two this is the one that parse() guards: it closes the files when this raises.
        body = self._input_data = DelimiterCount(self._input_data, b"--" + self._boundary)
        data, files = super()._parse()  # type: ignore[misc]  # Django's stubs leave it out
        if not body.closing and self._content_length:
            raise MultiPartParserError("it is cut off: the closing boundary is missing.")
        parts = body.delimiters - body.closing
        read = sum(len(values) for form in (data, files) for _, values in form.lists())
        if read != parts:
            wanted = 'Content-Disposition: form-data; name="…"'
            raise MultiPartParserError(f"of its {parts} parts {read} can be read. Each needs a header {wanted}, in UTF-8.")
        return data, files

    # Django's leaves out a file whose name comes to nothing ('..', '/'); nobody here uses the name.
    def sanitize_file_name(self, file_name: str) -> str:
        return super().sanitize_file_name(file_name) or "file"


class DelimiterCount:
    """A body that counts, as it is read, the delimiters between its parts, and the closing ones among them."""

    def __init__(self, body: Any, delimiter: bytes) -> None:
        self.body, self.delimiter = body, delimiter
        self.delimiters = self.closing = 0
        self.last = b""

    def read(self, size: int | None = None) -> bytes:
        chunk: bytes = self.body.read(size) if size else self.body.read()
        closing = self.delimiter + b"--"
        self.delimiters += count_across(self.last, chunk, self.delimiter)
        self.closing += count_across(self.last, chunk, closing)
        self.last = (self.last + chunk)[1 - len(closing) :]
        return chunk


def count_across(before: bytes, chunk: bytes, wanted: bytes) -> int:
    """How often `wanted` ends in this chunk; it may begin in the bytes before."""
    return (before[1 - len(wanted) :] + chunk).count(wanted)


@contextmanager
def too_many_is_named() -> Iterator[None]:
    try:
        yield
    except TooManyFieldsSent:
        raise ParseError(f"The form has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS} fields.") from None
    except TooManyFilesSent:
        raise ParseError(f"The form has more than {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files.") from None
