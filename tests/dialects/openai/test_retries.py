"""An SDK of OpenAI's that asks again: it joins the job that is under way, and is told whether to try."""

from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.dialects.openai.errors import render_error
from api.jobs.models import Job
from api.jobs.states import Status
from api.problems import problem_body
from tests.dialects.openai.conftest import blue, mask
from tests.dialects.openai.image_requests import EDITS, GENERATIONS, Send, error_of, upload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media")]


RETRY = {"X-Stainless-Retry-Count": "1"}


def job_id(reply: Any) -> str:
    assert reply.status_code == 202, reply.content
    found: str = reply.json()["id"]
    return found


def test_an_sdk_that_asks_again_joins_the_job_that_is_under_way(send: Send) -> None:
    first = job_id(send(GENERATIONS, prompt="a lake", headers={"X-Stainless-Retry-Count": "0"}))
    assert job_id(send(GENERATIONS, prompt="a lake", headers=RETRY)) == first
    assert job_id(send(GENERATIONS, prompt="a lake", headers=RETRY)) == first
    assert job_id(send(GENERATIONS, prompt="a lake")) != first


@pytest.mark.parametrize("fields", [{"prompt": "a sea"}, {"n": 2}, {"quality": "low"}, {"seed": 1}], ids=str)
def test_another_request_is_another_job(send: Send, fields: dict[str, Any]) -> None:
    first = job_id(send(GENERATIONS, prompt="a lake"))
    assert job_id(send(GENERATIONS, **{"prompt": "a lake", **fields}, headers=RETRY)) != first


def test_an_edit_is_joined_by_its_pictures_content(send_form: Send, client: Client) -> None:
    first = job_id(send_form(EDITS, image=upload(blue()), mask=upload(mask()), prompt="a lake"))
    again = {"image": upload(blue(), "other"), "mask": upload(mask()), "prompt": "a lake"}
    assert job_id(client.post(EDITS, again, headers={"Prefer": "respond-async", **RETRY})) == first


def test_a_job_that_has_ended_is_not_joined(send: Send) -> None:
    first = job_id(send(GENERATIONS, prompt="a lake"))
    Job.objects.filter(pk=first).update(status=Status.FAILED)
    assert job_id(send(GENERATIONS, prompt="a lake", headers=RETRY)) != first


def test_another_owners_job_is_not_joined(send: Send) -> None:
    tokens = [create_key(name=name)[1] for name in ("one", "two")]
    one, two = ({"Authorization": f"Bearer {token}", **RETRY} for token in tokens)
    first = job_id(send(GENERATIONS, prompt="a lake", headers=one))
    assert job_id(send(GENERATIONS, prompt="a lake", headers=two)) != first
    assert job_id(send(GENERATIONS, prompt="a lake", headers=one)) == first


def test_an_idempotency_key_says_it_better(send: Send) -> None:
    first = job_id(send(GENERATIONS, prompt="a lake", headers={"Idempotency-Key": "a"}))
    assert job_id(send(GENERATIONS, prompt="a lake", headers={"Idempotency-Key": "b", **RETRY})) != first
    assert job_id(send(GENERATIONS, prompt="a lake", headers={"Idempotency-Key": "a"})) == first
    reply = send(GENERATIONS, prompt="a lake", quality="low", headers={"Idempotency-Key": "a"})
    assert error_of(reply, 422)["code"] == "idempotency_key_reused"


def test_too_many_jobs_may_be_tried_again(send: Send) -> None:
    _, token = create_key(name="one", max_active_jobs=1)
    headers = {"Authorization": f"Bearer {token}"}
    send(GENERATIONS, prompt="a lake", headers=headers)
    reply = send(GENERATIONS, prompt="a lake", headers=headers)
    assert (error_of(reply, 429)["type"], reply["x-should-retry"]) == ("rate_limit_error", "true")


@pytest.mark.parametrize("code", ["content_filtered", "prompt_refused"])
def test_what_is_withheld_has_the_code_that_clients_look_for(code: str) -> None:
    error: Any = render_error(problem_body(400, code, "It is withheld."))["error"]
    assert error == {
        "message": "It is withheld.", "type": "invalid_request_error", "param": None, "code": "content_policy_violation"
    }  # fmt: skip
