"""The request of a kind of job as one frozen dataclass: the only list of its fields, their types, ranges and defaults.

    @dataclass(frozen=True, kw_only=True)
    class UpscaleSpec(Spec):
        kind = "upscale"

        image: InputImage
        scale: int = param(minimum=2, maximum=4, default=2, shared=True, help="How many times as wide and high.")

A spec holds a request after submission, with nothing left open. Serializers (api/spec_serializers.py), the OpenAPI document, the row's
JSON, the batch key and a job's retry are derived from it. No Django, no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, NewType, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from api.json_types import Json, JsonObject

InputImage = NewType("InputImage", str)
"""The id of a StoredFile whose pixels are read as RGB."""
InputTransparentImage = NewType("InputTransparentImage", str)
"""The same, with their transparency where they have some."""
InputMask = NewType("InputMask", str)
"""The id of a StoredFile whose pixels are read as one channel."""

INPUTS = (InputImage, InputTransparentImage, InputMask)
RULE = "rule"
PLAIN = frozenset({str, int, float, bool, type(None)})
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a client may send for a field. Bounds are inclusive."""

    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
    max_length: int | None = None
    """Of a text, in characters."""
    min_items: int | None = None
    max_items: int | None = None
    """Of a list, or of an object whose names the client chooses."""
    max_name_length: int | None = None
    """Of the names in such an object, in characters; `max_length` is that of its texts."""
    blank: bool = False
    """Whether an empty text is allowed."""
    slug: bool = False
    """A text of letters, digits, - and _ alone."""
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Of the choices, where people read other words than the values."""
    known: tuple[str, ...] = ()
    """Of a name: those that there are now. An unknown one is refused with the nearest; the OpenAPI document does not list them."""
    shared: bool | None = None
    """Whether requests that run as one batch are equal in this field. Where one field of a spec is shared, each must say it."""
    decided: bool = False
    """A client may leave the field out; the submission then decides its value. A default is that of rows of earlier versions."""
    local_only: bool = False
    """Only a model that runs on this server honours the field; a hosted one does not."""
    internal: bool = False
    """Set by the submission alone; a client can't send it."""
    omitted: bool = False
    """Left out of the JSON where it is None."""
    help: str = ""

    @property
    def labelled_choices(self) -> list[tuple[str, str]]:
        return list(zip(self.choices, self.labels or self.choices, strict=True))


def param(*, default: Any = MISSING, **rule: Any) -> Any:
    """A field of a spec. Without a default the client must send it, unless it is `decided` or `internal`."""
    return dataclasses.field(default=default, metadata={RULE: Rule(**rule)})


@dataclass(frozen=True)
class SpecField:
    """One field of a spec, as serializers and forms read it."""

    name: str
    type: Any
    """Without `| None`."""
    nullable: bool
    default: Any
    """MISSING where there is none."""
    rule: Rule

    @property
    def required(self) -> bool:
        return self.default is MISSING and not self.rule.decided

    def is_in_use(self, value: object) -> bool:
        """Whether a client asks for anything with this value, as JSON or as the spec holds it."""
        return bool(as_json(value) != (None if self.default is MISSING else as_json(self.default)))

    @cached_property
    def member(self) -> Any:
        """Of a list: the type of what is in it; None for anything else."""
        return get_args(self.type)[0] if get_origin(self.type) is tuple else None

    @cached_property
    def read(self) -> Callable[[Any], Any]:
        """Makes a value of JSON. Looked up once: every row is read by it, and a page of the history has a hundred."""
        if self.member is not None:
            member = self.member
            return (lambda data: tuple(read_dataclass(member, item) for item in data)) if is_nested(member) else tuple
        if is_nested(self.type):
            return lambda data: read_dataclass(self.type, data)
        return float if self.type is float else lambda data: data


_fields: dict[Any, tuple[SpecField, ...]] = {}  # by class: type hints take long to evaluate


def fields_of(cls: type[Any]) -> tuple[SpecField, ...]:
    """The fields of a spec, or of a dataclass inside one, in their order."""
    if cls not in _fields:
        hints = get_type_hints(cls)
        _fields[cls] = tuple(
            SpecField(one.name, *_unwrap(hints[one.name]), one.default, one.metadata.get(RULE, Rule())) for one in fields(cls)
        )
    return _fields[cls]


_shared_fields: dict[Any, tuple[SpecField, ...]] = {}


def shared_fields(cls: type[Any]) -> tuple[SpecField, ...]:
    """Those in which the requests of a batch are equal. Raises TypeError where a spec has such fields, and others that don't say it."""
    if cls not in _shared_fields:
        shared = tuple(one for one in fields_of(cls) if one.rule.shared)
        if shared and (silent := [one.name for one in fields_of(cls) if one.rule.shared is None]):
            raise TypeError(f"{cls.__name__}: say shared=True or shared=False of {', '.join(silent)}.")
        _shared_fields[cls] = shared
    return _shared_fields[cls]


def field_of(cls: type[Any], name: str) -> SpecField:
    return next(one for one in fields_of(cls) if one.name == name)


def _unwrap(hint: object) -> tuple[object, bool]:
    """`X | None` gives (X, True)."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    members = [member for member in get_args(hint) if member is not type(None)]
    return (members[0] if len(members) == 1 else Union[tuple(members)]), len(members) < len(get_args(hint))  # noqa: UP007


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The base of every request. Subclasses are frozen dataclasses with keyword-only fields."""

    kind: ClassVar[str]

    def to_json(self) -> JsonObject:
        """As it is stored in the job's row; `from_json` reads it back."""
        return _fields_to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object], **defaults: object) -> Self:
        """`defaults` stand for what rows of earlier versions lack. Raises ValueError that names a missing field."""
        return read_dataclass(cls, {**defaults, **data})

    @classmethod
    def from_row(cls, params: Mapping[str, Json], *, kind: str, model_id: str, prompt: str) -> Self:
        """From the columns of a job. Rows of earlier versions have the model in its column alone. Raises ValueError, as `from_json`."""
        return cls.from_json(params, model_id=model_id)

    @property
    def history_model(self) -> str:
        """What the history names and filters as the job's model; '' where there is none."""
        return ""

    @property
    def history_prompt(self) -> str:
        """The text by which people find the job in the history."""
        return ""

    @property
    def asking_texts(self) -> dict[str, tuple[str, ...]]:
        """What says in words what is to be made or answered: rules for prompts read it. Not what is only compared, found or left out.
        Each text as it was written, with what a model is given in its place.
        """
        return {}

    @property
    def claimed_texts(self) -> tuple[str, ...]:
        """What a request says that a model has written before: rules read what no model here has (JobKind.has_written)."""
        return ()

    @property
    def input_ids(self) -> tuple[str, ...]:
        """The files that the request starts from, each once."""
        return tuple(dict.fromkeys(_input_ids(self)))

    @property
    def local_fields_in_use(self) -> tuple[str, ...]:
        """Names of the fields in use that a hosted model does not honour."""
        return tuple(
            one.name for one in fields_of(type(self)) if one.rule.local_only and one.is_in_use(getattr(self, one.name))
        )

    @property
    def runs_alone(self) -> bool:
        """Whether this request is never run as one batch with others: where none of its fields is said to be shared."""
        return not shared_fields(type(self))

    def shared_values(self) -> JsonObject:
        """What is equal in all requests of a batch: the fields marked as shared, and what subclasses derive."""
        return {one.name: as_json(getattr(self, one.name)) for one in shared_fields(type(self))}

    def batch_key(self) -> str:
        """Jobs with equal keys may run as one batch; '' runs alone. At most 64 characters."""
        if self.runs_alone:
            return ""
        return make_batch_key(self.kind, [self.kind, self.shared_values()])


@dataclass(frozen=True, kw_only=True)
class StoredSpec(Spec):
    """A request whose fields nobody has declared, as its row holds it: of a kind that is not installed."""

    kind: str  # type: ignore[misc]
    params: Mapping[str, Json]
    model_id: str = ""
    prompt: str = ""

    @classmethod
    def from_row(cls, params: Mapping[str, Json], *, kind: str, model_id: str, prompt: str) -> Self:
        return cls(kind=kind, params=params, model_id=model_id, prompt=prompt)

    def to_json(self) -> JsonObject:
        return dict(self.params)

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return self.prompt


def _input_ids(value: object) -> Iterator[str]:
    """Of a dataclass: its values whose type is a picture, and those of the dataclasses inside it."""
    for one in fields_of(type(value)):
        found, member = getattr(value, one.name), one.member or one.type
        items = () if found is None else found if one.member else (found,)
        if member in INPUTS:
            yield from items
        elif is_nested(member):
            for item in items:
                yield from _input_ids(item)


def _fields_to_json(value: object) -> JsonObject:
    found = ((one, getattr(value, one.name)) for one in fields_of(type(value)))
    return {one.name: as_json(item) for one, item in found if item is not None or not one.rule.omitted}


def make_batch_key(name: str, shared: Json) -> str:
    """The same for equal JSON values. At most 64 characters."""
    return f"{name[:24]}:{hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:32]}"


def as_json(value: object) -> Any:
    """Of what a field of a spec holds."""
    if type(value) in PLAIN:
        return value
    if dataclasses.is_dataclass(value):
        return _fields_to_json(value)
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, tuple | list) else value


def read_dataclass(cls: type[T], data: Mapping[str, object]) -> T:
    """An instance from JSON. Keys that are not fields are left out: rows of earlier versions have some."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__}: an object was expected, not {data!r}.")
    given: JsonObject = {}
    missing: list[str] = []
    for one in fields_of(cls):
        if (value := data.get(one.name)) is not None:
            given[one.name] = read_field(one, value)
        elif one.nullable and (one.default is MISSING or one.name in data):
            given[one.name] = None
        elif one.default is MISSING:
            missing.append(one.name)
    if missing:
        raise ValueError(f"{cls.__name__} lacks {', '.join(missing)}.")
    return cls(**given)


def read_field(field: SpecField, value: object) -> Any:
    if field.member is not None and not isinstance(value, list | tuple):
        raise ValueError(f"{field.name}: a list was expected, not {value!r}.")
    try:
        return field.read(value)
    except TypeError:
        raise ValueError(f"{field.name}: {value!r} can't be read.") from None


def is_nested(type: object) -> bool:
    return dataclasses.is_dataclass(type)
