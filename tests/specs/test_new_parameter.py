"""A new parameter of a request is three edits: the spec's field, the backend that uses it, and a test. This test is all three.

`tone` is added to what is asked for a picture. Everything else that knows of it reads it off the spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import path
from drf_spectacular.generators import SchemaGenerator

from api.access.principals import LOCAL
from api.images.serializers import Txt2ImgSerializer
from api.images.spec import Txt2ImgSpec
from api.jobs import kinds
from api.jobs.admin.detail import detail_context
from api.jobs.api.dialect import SubmitView
from api.jobs.api.submission import submit
from api.jobs.kinds import JobKind, shown_params
from api.jobs.lifecycle import retry_job
from api.jobs.models import Job
from api.jobs.running import Finished, Outcome, RunningJob
from api.jobs.worker.loop import WorkerLoop
from api.specs import param
from api.studio import forms

pytestmark = pytest.mark.django_db


# ---------------------------------------------------------------- edit 1: the spec


@dataclass(frozen=True, kw_only=True)
class TonedSpec(Txt2ImgSpec):
    """A request for pictures of a tone."""

    kind = "toned"

    tone: int = param(default=2, shared=True, minimum=0, maximum=9, local_only=True, help="How warm the picture is.")


# ---------------------------------------------------------------- edit 2: what uses it


class Toned(JobKind[TonedSpec]):
    name = TonedSpec.kind
    spec_class = TonedSpec

    def run(self, batch: Sequence[RunningJob[TonedSpec]]) -> Iterator[Outcome]:
        for run in batch:
            yield Finished(run, {"warmth": 10 * run.spec.tone})


# ---------------------------------------------------------------- where it shows up


class TonedSerializer(Txt2ImgSerializer):
    spec = TonedSpec


class TonedView(SubmitView):
    """Make toned pictures."""

    serializer_class = TonedSerializer


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_kinds", {**kinds._kinds, Toned.name: Toned()})
    monkeypatch.setattr(forms.PromptForm, "serializer_class", TonedSerializer)


def read(**data: Any) -> TonedSerializer:
    serializer = TonedSerializer(data={"prompt": "a lake", **data})
    serializer.is_valid()
    return serializer


@pytest.fixture
def job() -> Job:
    return submit(read(tone=7).resolve(), principal=LOCAL, source="api")


def test_the_serializer_reads_it_and_names_it_in_an_error() -> None:
    assert read(tone=7).validated_data["tone"] == 7
    assert read().validated_data["tone"] == 2
    assert list(read(tone=10).errors) == ["tone"]


def test_a_hosted_model_refuses_it(settings: Any) -> None:
    settings.USE_LOCAL_MODELS = False
    assert list(read(tone=7, model_id="dreamshaper-8").errors) == ["tone"]


def test_the_openapi_document_has_it() -> None:
    generator = SchemaGenerator(patterns=[path("api/toned/", TonedView.as_view())])
    document = generator.get_schema(request=None, public=True)
    tone = document["components"]["schemas"]["TonedRequest"]["properties"]["tone"]
    assert (tone["minimum"], tone["maximum"], tone["default"], tone["description"]) == (0, 9, 2, "How warm the picture is.")


def test_the_form_has_it() -> None:
    [tone] = [one for one in forms.PromptForm().inputs if one.name == "tone"]
    assert (tone.label, tone.type, tone.minimum, tone.maximum, tone.placeholder) == ("Tone", "number", "0", "9", "2")


def test_the_row_has_it_and_its_params_show_it(job: Job) -> None:
    row = Job.objects.get(pk=job.pk)
    assert row.params["tone"] == shown_params(row)["tone"] == 7


def test_a_row_from_before_has_its_default(job: Job) -> None:
    del job.params["tone"]
    assert shown_params(job)["tone"] == 2


def test_a_retry_has_it(job: Job) -> None:
    assert retry_job(job=job).params["tone"] == 7


def test_the_batch_key_depends_on_it(job: Job) -> None:
    same, other = (submit(read(tone=tone).resolve(), principal=LOCAL, source="api") for tone in (7, 8))
    assert job.batch_key == same.batch_key != other.batch_key


def test_the_admins_table_has_it(job: Job) -> None:
    assert ("tone", "7") in detail_context(job)["params"]


def test_the_work_reads_it(job: Job) -> None:
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job.pk).result == {"warmth": 70}
