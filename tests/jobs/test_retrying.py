"""A retry passes the same checks as a first submission."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.access.models import ApiKey
from api.access.services import create_key
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.models import Job
from api.jobs.states import Status

pytestmark = pytest.mark.django_db
Post = Callable[..., Any]


@pytest.fixture
def key() -> tuple[ApiKey, str]:
    return create_key(name="one at a time", max_active_jobs=1)


@pytest.fixture
def done(submit: Callable[..., Job], loop: Any, key: tuple[ApiKey, str]) -> Job:
    job = submit(owner_key=key[0].prefix)
    loop.run_once()
    return job


@pytest.fixture
def retry(client: Client, key: tuple[ApiKey, str]) -> Post:
    def post(job: Job, body: Any = None, *, action: str = "retry", **headers: str) -> Any:
        content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        told = {"Authorization": f"Bearer {key[1]}", **headers}
        return client.post(f"/api/jobs/{job.pk}/{action}/", headers=told, **content)

    return post


def test_a_key_whose_quota_is_used_up_gets_429(done: Job, retry: Post) -> None:
    assert [retry(done).status_code for _ in range(3)] == [202, 429, 429]
    assert retry(done).headers["Retry-After"] == "5"
    assert Job.objects.filter(status=Status.QUEUED).count() == 1


def test_the_owners_quota_holds_whoever_retries(done: Job) -> None:
    """Staff, in the admin or over the API."""
    lifecycle.retry_job(job=done)
    with pytest.raises(DarkroomError) as refused:
        lifecycle.retry_job(job=done)
    assert refused.value.status == 429


def test_a_full_queue_is_503(done: Job, retry: Post, settings: Any, submit: Callable[..., Job]) -> None:
    submit()
    settings.MAX_QUEUED_JOBS = 1
    assert retry(done).status_code == 503


def test_equal_retries_with_one_key_are_one_job(done: Job, retry: Post) -> None:
    made = [retry(done, **{"Idempotency-Key": "again"}).json()["id"] for _ in range(3)]
    assert len(set(made)) == 1
    assert Job.objects.filter(retry_of=done).count() == 1


def test_a_key_of_another_request_is_422(done: Job, retry: Post, submit: Callable[..., Job]) -> None:
    submit(owner_key=done.owner_key, idempotency_key="used", body_hash="a")
    assert retry(done, **{"Idempotency-Key": "used"}).status_code == 422


def test_a_bad_key_is_a_400_that_names_it(done: Job, retry: Post) -> None:
    reply = retry(done, **{"Idempotency-Key": "two words"})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_a_body_is_a_400_that_names_its_fields(done: Job, retry: Post, action: str) -> None:
    reply = retry(done, {"seed": 5, "prompt": "x"}, action=action)
    assert reply.status_code == 400
    assert {error["field"] for error in reply.json()["errors"]} == {"seed", "prompt"}
    assert not Job.objects.filter(retry_of=done).exists()


@pytest.mark.parametrize("body", [[], [1], 5, "x", None])
def test_a_body_that_is_no_object_is_a_400(done: Job, client: Client, key: tuple[ApiKey, str], body: Any) -> None:
    headers = {"Authorization": f"Bearer {key[1]}"}
    reply = client.post(f"/api/jobs/{done.pk}/retry/", json.dumps(body), content_type="application/json", headers=headers)
    assert reply.status_code == 400


def test_an_empty_object_is_no_body(done: Job, retry: Post) -> None:
    assert retry(done, {}).status_code == 202
