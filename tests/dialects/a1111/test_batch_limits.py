"""A batch of pictures that the queue does not take as a whole."""

import pytest
from django.test import Client

from api.access.services import create_key
from api.jobs.models import Job
from tests.access.conftest import basic
from tests.api.bodies import png, text

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"upscaler_1": "Lanczos", "imageList": [{"data": text(png(seed)), "name": str(seed)} for seed in range(3)]}


@pytest.mark.parametrize(("key", "left"), [({}, set()), ({"Idempotency-Key": "again"}, {"queued"})])
def test_what_was_taken_is_cancelled_unless_it_can_be_found_again(client: Client, key: dict[str, str], left: set[str]) -> None:
    _, token = create_key(name="two at once", max_active_jobs=2)
    headers = {**basic(token), **key, "Prefer": "respond-async"}
    reply = client.post("/sdapi/v1/extra-batch-images", BODY, content_type="application/json", headers=headers)
    assert (reply.status_code, reply.json()["error"]) == (429, "HTTPException")
    assert {status for status in Job.objects.values_list("status", flat=True) if status != "cancelled"} == left
    assert Job.objects.count() == 2


@pytest.mark.parametrize(("states", "status", "given"), [("scs", 200, 2), ("ccc", 409, 0), ("scf", 500, 0)])
def test_of_a_batch_that_was_interrupted_the_others_come_back(client: Client, states: str, status: int, given: int) -> None:
    """s: succeeded, c: cancelled, f: failed."""
    headers = {"Idempotency-Key": "once"}
    client.post(
        "/sdapi/v1/extra-batch-images", BODY, content_type="application/json", headers={**headers, "Prefer": "respond-async"}
    )
    names = {"s": "succeeded", "c": "cancelled", "f": "failed"}
    for job, state in zip(Job.objects.order_by("pk"), states, strict=True):
        image = {"id": str(job.pk), "width": 32, "height": 32}
        error = {"status": 500, "code": "internal_error", "detail": "It broke."} if state == "f" else None
        result = {"images": [image], "source_image": ""} if state == "s" else None
        Job.objects.filter(pk=job.pk).update(status=names[state], result=result, error=error)
    reply = client.post("/sdapi/v1/extra-batch-images", BODY, content_type="application/json", headers=headers)
    assert reply.status_code == status, reply.content
    assert len(reply.json().get("images", [])) == given
