"""What the dialects answer where a job isn't ready: as their clients know it, or by RFC 7240 where a client speaks that."""

from typing import Any

import pytest
from django.test import Client

from api.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)
BODIES = {"/score": {"variant": {"layout": "centered"}}, "/generate": {"prompt": "a lake"}}


@pytest.mark.parametrize("path", list(BODIES))
@pytest.mark.parametrize("preference", ["respond-async", "wait=0"])
def test_a_client_that_says_how_long_it_waits_is_told_202(client: Client, path: str, preference: str) -> None:
    reply = client.post(path, BODIES[path], content_type="application/json", headers={"Prefer": preference})
    assert (reply.status_code, reply["Preference-Applied"]) == (202, preference)
    assert reply["Location"].endswith(f"/api/jobs/{Job.objects.get().pk}/")


@pytest.mark.parametrize("headers", [{}, {"Prefer": "return=minimal"}])
def test_a_client_that_says_nothing_of_it_is_told_504(client: Client, settings: Any, headers: dict[str, str]) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    reply = client.post("/score", BODIES["/score"], content_type="application/json", headers=headers)
    assert reply.status_code == 504
    assert "Preference-Applied" not in reply
