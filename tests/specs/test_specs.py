"""A request as one frozen dataclass: its JSON, its batch key, its serializer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from api.spec_serializers import SpecSerializer
from api.specs import Rule, Spec, param


@dataclass(frozen=True)
class Point:
    x: int = param(minimum=0)
    label: str = param(default="", blank=True, max_length=10)


@dataclass(frozen=True, kw_only=True)
class ExampleSpec(Spec):
    kind = "example"

    text: str = param(shared=False, max_length=5)
    size: int = param(decided=True, shared=True, minimum=8, maximum=64, multiple_of=8)
    mode: str | None = param(default=None, shared=True, choices=("fast", "good"))
    ratio: float = param(default=0.5, shared=False, minimum=0, maximum=1)
    points: tuple[Point, ...] = param(default=(), shared=False, max_items=2)
    tags: tuple[str, ...] = param(default=(), shared=False, max_items=2, max_length=3)
    origin: str = param(default="", shared=False, internal=True)
    name: str | None = param(default=None, shared=False, max_length=4, slug=True)
    curve: str | None = param(default=None, shared=False, max_length=20, known=("linear", "cubic"))
    notes: Mapping[str, str] | None = param(default=None, shared=False, max_items=2, max_name_length=3, max_length=4)


class ExampleSerializer(SpecSerializer):
    spec = ExampleSpec


def errors_of(**data: object) -> dict[str, Any]:
    serializer = ExampleSerializer(data=data)
    serializer.is_valid()
    return dict(serializer.errors)


def test_what_is_stored_reads_back_as_the_same_spec() -> None:
    spec = ExampleSpec(text="a", size=8, points=(Point(x=1, label="p"),), tags=("t",), mode="fast")
    assert ExampleSpec.from_json(spec.to_json()) == spec
    assert spec.to_json()["points"] == [{"x": 1, "label": "p"}]


def test_a_row_of_an_earlier_version_gets_defaults_and_loses_what_no_longer_exists() -> None:
    spec = ExampleSpec.from_json({"text": "a", "retired": 1}, size=16)
    assert (spec.size, spec.ratio, spec.mode) == (16, 0.5, None)


def test_a_row_that_lacks_a_value_without_default_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="ExampleSpec lacks text"):
        ExampleSpec.from_json({"size": 8})


def test_null_in_a_nullable_field_is_kept() -> None:
    assert ExampleSpec.from_json({"text": "a", "size": 8, "mode": None}).mode is None


def test_the_batch_key_depends_on_the_shared_fields_alone() -> None:
    one = ExampleSpec(text="a", size=8)
    assert one.batch_key() == ExampleSpec(text="b", size=8, ratio=1.0).batch_key()
    assert one.batch_key() != ExampleSpec(text="a", size=16).batch_key()
    assert one.batch_key() != ExampleSpec(text="a", size=8, mode="good").batch_key()
    assert len(one.batch_key()) <= 64


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "text"),
        ({"text": "toolong"}, "text"),
        ({"text": "a", "size": 72}, "size"),
        ({"text": "a", "size": 9}, "size"),
        ({"text": "a", "mode": "other"}, "mode"),
        ({"text": "a", "ratio": "nan"}, "ratio"),
        ({"text": "a", "ratio": 1.5}, "ratio"),
        ({"text": "a", "name": "a b"}, "name"),
        ({"text": "a", "name": "a-b-c"}, "name"),
        ({"text": "a", "notes": {"a": "toolong"}}, "notes"),
        ({"text": "a", "notes": {"long": "a"}}, "notes"),
        ({"text": "a", "notes": {"a": "", "b": "", "c": ""}}, "notes"),
        ({"text": "a", "points": [{"x": -1}]}, "points"),
        ({"text": "a", "points": [{"x": 1}] * 3}, "points"),
        ({"text": "a", "tags": ["four"]}, "tags"),
        ({"text": "a", "origin": "client"}, "origin"),
        ({"text": "a", "other": 1}, "other"),
    ],
)
def test_a_value_outside_the_spec_is_an_error_that_names_the_field(data: dict[str, object], field: str) -> None:
    assert list(errors_of(**data)) == [field]


def test_a_name_that_is_not_known_is_refused_with_the_nearest() -> None:
    [error] = errors_of(text="a", curve="cubik")["curve"]
    assert (error.code, str(error)) == ("unknown_curve", "There is no curve 'cubik'. Did you mean 'cubic'?")
    assert errors_of(text="a", curve="cubic") == {}


def test_labels_of_choices_are_in_the_order_of_the_choices() -> None:
    assert Rule(choices=("a", "b"), labels=("A", "B")).labelled_choices == [("a", "A"), ("b", "B")]
    assert Rule(choices=("a",)).labelled_choices == [("a", "a")]


def test_a_size_between_two_multiples_names_both() -> None:
    assert "8 and 16 are the nearest" in str(errors_of(text="a", size=9)["size"])


def test_a_size_out_of_range_has_one_error() -> None:
    [error] = errors_of(text="a", size=7)["size"]
    assert "greater than or equal to 8" in error


def test_a_valid_request_carries_defaults_and_leaves_open_what_the_server_decides() -> None:
    serializer = ExampleSerializer(data={"text": "a", "points": [{"x": 1}]})
    assert serializer.is_valid(), serializer.errors
    data = serializer.validated_data
    assert (data["ratio"], data["points"]) == (0.5, [{"x": 1, "label": ""}])
    assert {"size", "origin"}.isdisjoint(data)


def test_every_field_of_a_batched_request_says_whether_a_batch_shares_it() -> None:
    @dataclass(frozen=True, kw_only=True)
    class LongerSpec(ExampleSpec):
        tone: int = param(default=0)

    with pytest.raises(TypeError, match="LongerSpec: say shared=True or shared=False of tone"):
        LongerSpec(text="a", size=8).batch_key()


@pytest.mark.parametrize("wrong", [{"points": ["riso"]}, {"points": 5}, {"tags": 5}, {"points": {"x": 1}}, {"ratio": "much"}])
def test_a_row_of_another_shape_is_an_error_of_one_class(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|could not convert|can't be read"):
        ExampleSpec.from_json({"text": "a", "size": 8, **wrong})
