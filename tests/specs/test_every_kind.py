"""What holds for the request of every kind of job of the server."""

from collections.abc import Iterator
from typing import Any

import pytest

import config.urls  # noqa: F401  declares every serializer
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.kinds import get_kind, kind_names, read_spec, shown_params
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.spec_serializers import SpecSerializer
from api.specs import StoredSpec, fields_of
from tests.rows import ANY_PARAMS, NO_IMAGE, make_job, spec_of

KINDS = [name for name in kind_names() if type(get_kind(name)).__module__.startswith("api.")]


@pytest.mark.parametrize("name", KINDS)
def test_a_row_gives_the_request_that_was_submitted(name: str) -> None:
    spec = spec_of(name, ANY_PARAMS)
    assert not isinstance(spec, StoredSpec)
    assert spec.kind == name
    columns = {"model_id": spec.history_model, "prompt": spec.history_prompt}
    assert read_spec(Job(kind=name, params=spec.to_json(), **columns)) == spec


@pytest.mark.django_db
@pytest.mark.parametrize("name", KINDS)
def test_what_decides_whether_a_worker_without_models_takes_it_is_a_field_of_the_request(name: str) -> None:
    able = get_kind(name).without_models()
    names = {one.name for one in fields_of(type(spec_of(name, ANY_PARAMS)))}
    assert isinstance(able, bool) or able[0] in names


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_key_fits_its_column(name: str) -> None:
    assert len(spec_of(name, {**ANY_PARAMS, "model_id": "m" * 200}).batch_key()) <= 64


BOUNDS = frozenset({"min_value", "max_value", "min_length", "max_length", "choices", "default"})


def spec_serializers(of: type[SpecSerializer] = SpecSerializer) -> Iterator[type[SpecSerializer]]:
    for serializer in of.__subclasses__():
        yield from spec_serializers(serializer)
        if serializer.__module__.startswith("api.") and hasattr(serializer, "spec"):  # else a base of several
            yield serializer


@pytest.mark.parametrize("serializer", sorted(set(spec_serializers()), key=str), ids=lambda serializer: serializer.__name__)
def test_no_serializer_states_a_bound_choice_or_default_of_a_field_of_its_spec(serializer: type[SpecSerializer]) -> None:
    names = {one.name for one in fields_of(serializer.spec)}
    declared = {
        name: field for name, field in serializer._declared_fields.items() if serializer._derived.get(name) is not field
    }
    stated = {name: BOUNDS & set(field._kwargs) for name, field in declared.items() if name in names}
    assert not {name: bounds for name, bounds in stated.items() if bounds}


@pytest.mark.parametrize(
    ("kind", "params", "files"),
    [
        ("txt2img", {}, ()),
        ("img2img", {"mask": "b"}, (NO_IMAGE, "b")),
        ("layout_score", {}, (NO_IMAGE,)),
        ("layout_score", {"items": [{"image": "a"}, {}, {"image": "b"}, {"image": "a"}]}, ("a", "b")),
        ("embedding", {}, (NO_IMAGE,)),
        ("clip_score", {"images": ["a", "b", "a"]}, ("a", "b")),
    ],
)
def test_the_files_that_a_request_starts_from_are_found_by_their_type(
    kind: str, params: dict[str, Any], files: tuple[str, ...]
) -> None:
    assert spec_of(kind, {**ANY_PARAMS, **params}).input_ids == files


@pytest.mark.django_db
class TestARowThatCantBeRead:
    def test_is_shown_as_it_is(self) -> None:
        job = make_job(params={"prompt": "a"})
        assert shown_params(job) == {"prompt": "a"}

    def test_fails_alone_and_says_what_it_lacks(self) -> None:
        unread, good = make_job("queued", params={"prompt": "a"}), make_job("queued", kind="unknown")
        loop = WorkerLoop()
        while loop.run_once():
            pass
        unread.refresh_from_db()
        good.refresh_from_db()
        assert (unread.status, unread.error["code"], good.error["code"]) == ("failed", "unreadable_params", "unknown_kind")
        assert "lacks width" in unread.error["detail"]

    def test_is_not_tried_again(self) -> None:
        with pytest.raises(DarkroomError, match="lacks width"):
            lifecycle.retry_job(job=make_job("failed", params={"prompt": "a"}))
