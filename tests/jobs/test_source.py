"""Which API, page or command a job came by: kept by its retry and its children, said in the history, and found by it."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from api.jobs.children import wait_for_children
from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Job
from api.jobs.running import ChildJob

pytestmark = pytest.mark.django_db


def test_a_retry_has_the_source_of_what_it_retries(submit: Callable[..., Job]) -> None:
    job = submit(source="openai")
    cancel_job(job=job)
    job.refresh_from_db()
    assert retry_job(job=job).source == "openai"


def test_a_child_has_its_parents(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit("parent", source="openai")
    wait_for_children(job=claim(), children=[ChildJob("noop", {})])
    assert Job.objects.get(parent__isnull=False).source == "openai"


def test_the_history_says_it_and_filters_by_it(submit: Callable[..., Job]) -> None:
    mine = submit(source="openai", owner_key="local")
    submit(source="api", owner_key="local")
    client = APIClient()
    assert client.get(f"/api/jobs/{mine.pk}/").json()["source"] == "openai"
    page = client.get("/api/jobs/", {"source": "openai"}).json()
    assert [job["id"] for job in page["results"]] == [str(mine.pk)]
