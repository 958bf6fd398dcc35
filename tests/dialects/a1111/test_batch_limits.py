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
