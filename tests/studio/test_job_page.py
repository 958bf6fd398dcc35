"""A job's page: what was asked, what came, how long it took, and what to do about a failure, for every kind and without the admin."""

import re
from pathlib import Path

import pytest
from django.test import Client

from api.access.services import create_key
from api.files.models import JobInput
from api.jobs.kinds import kind_names
from api.jobs.models import Job
from api.studio.error_advice import BY_CODE
from tests.rows import ANY_PARAMS, make_job, make_picture
from tests.studio.test_look import kept_picture, looked

pytestmark = pytest.mark.django_db
ERROR = {"code": "out_of_memory", "status": 507, "detail": "There was not enough memory."}


def page_of(client: Client, job: Job) -> str:
    return client.get(f"/studio/jobs/{job.pk}/").content.decode()


@pytest.mark.parametrize("kind", sorted(kind_names()))
def test_a_failure_of_any_kind_has_its_reason_and_what_to_do(here: Client, kind: str) -> None:
    job = make_job("failed", kind=kind, params=ANY_PARAMS, error=ERROR, timings={"load": 1.5, "denoise": 0.5}, attempt=2)
    page = page_of(here, job)
    for said in (
        "There was not enough memory.",
        "Ask for a smaller picture",
        "tried 2 times",
        f'action="/studio/jobs/{job.pk}/retry"',
    ):
        assert said in page, said
    assert re.findall(r"</svg> (\w+) <b>", page) == ["load", "denoise"]
    assert "/admin/jobs" not in page


def test_what_was_asked_and_what_came_is_told_with_its_kin(here: Client) -> None:
    parent = make_job(kind="grid", params={**ANY_PARAMS})
    old = make_job("failed", error={"code": "no such code", "status": 503, "detail": "Away."}, parent=parent)
    picture = make_picture(make_job(parent=parent, retry_of=old, warnings=["Its LoRA has no effect."]))
    page = page_of(here, picture.job)
    for said in (
        "a red circle above",
        "blurry",
        "guidance",
        "Its LoRA has no effect.",
        f"/api/images/{picture.pk}/file/",
    ):
        assert said in page, said
    for other in (parent, old):
        assert f'href="/studio/jobs/{other.pk}/"' in page
    assert page_of(here, parent).count("its part") == 2
    assert "Try again later." in page_of(here, old)
    assert "tried again as" in page_of(here, old)
    loaded = make_job(kind="train_scorer", params=ANY_PARAMS, result={"name": "mine", "version": 3, "raters": ["local"]})
    assert re.findall(r"<dt>(name|version)</dt><dd>(\w+)", page_of(here, loaded)) == [
        ("name", "mine"),
        ("version", "3"),
        ("name", "mine"),
    ]


def test_what_was_found_is_drawn_over_its_picture(here: Client) -> None:
    file = kept_picture()
    box = {"xmin": 1, "ymin": 2, "xmax": 11, "ymax": 12}
    result = {"width": 40, "height": 30, "detections": [{"label": "sun", "class_id": 0, "score": 0.9, "box": box}]}
    page = page_of(here, looked("detect", file, result))
    assert 'viewBox="0 0 40 30"' in page
    assert 'points="1,2 11,2 11,12 1,12"' in page
    assert f'href="/studio/look/?image={file.pk}"' in page


def test_a_job_that_goes_on_asks_for_its_news_and_one_that_ended_does_not(here: Client) -> None:
    assert 'hx-select="#job-details"' in page_of(here, make_job("running"))
    assert 'hx-select="#job-details"' not in page_of(here, make_job())
    job = make_job("cancelled")
    assert here.post(f"/studio/jobs/{job.pk}/retry").status_code == 302  # "Ask the same again"
    assert Job.objects.filter(retry_of=job).count() == 1


def test_kin_of_others_are_not_named(here: Client) -> None:
    key, token = create_key(name="mine")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    theirs = make_job()
    own = make_job(owner_key=key.prefix, retry_of=theirs)
    JobInput.objects.create(job=own, file=kept_picture(owner_key=key.prefix))
    page = page_of(client, own)
    assert str(theirs.pk) not in page
    assert client.get(f"/studio/jobs/{theirs.pk}/").status_code == 404


def test_every_remedy_is_for_a_code_that_there_is() -> None:
    sources = "".join(path.read_text() for path in Path("api").rglob("*.py") if path.name != "job_details.py")
    assert [code for code in BY_CODE if f'"{code}"' not in sources] == []
