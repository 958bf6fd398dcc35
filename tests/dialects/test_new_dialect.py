"""A dialect of a few lines (easel.py) has all that the others have, against a real server and worker with the starter's weights."""

import base64
import inspect
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.dialects import easel
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED: dict[str, Any] = {"text": "a red circle", "strokes": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("easel")
    with LiveServer(
        folder, DATABASE_URL="", DEVICE="cpu", SYNC_WAIT_SECONDS=110, DJANGO_SETTINGS_MODULE="tests.dialects.easel_settings"
    ) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


def paint(server: LiveServer, prefer: str = "", key: str = "", timeout: float = 120, **body: Any) -> httpx.Response:
    headers = {name: value for name, value in {"Prefer": prefer, "Idempotency-Key": key}.items() if value}
    return server.client.post("/easel/paint", json=body, headers=headers, timeout=timeout)


def job_of(server: LiveServer, reply: httpx.Response) -> Any:
    return server.client.get(reply.headers["Location"]).json()


def test_it_is_forty_lines_at_most() -> None:
    assert len([line for line in inspect.getsource(easel).splitlines() if line.strip()]) <= 40


def test_a_picture_comes_in_its_form_and_is_a_job_in_the_history(server: LiveServer) -> None:
    reply = paint(server, **ASKED)
    assert (reply.status_code, list(reply.json())) == (200, ["canvas"])
    assert base64.b64decode(reply.json()["canvas"]).startswith(b"\x89PNG")
    assert (job_of(server, reply)["params"]["steps"], job_of(server, reply)["status"]) == (2, "succeeded")


def test_a_refusal_comes_in_its_form(server: LiveServer) -> None:
    reply = paint(server, text="a lake", strokes=0)
    assert (reply.status_code, reply.headers["Content-Type"]) == (400, "application/json")
    assert reply.json()["spilt"].startswith("steps: ")


def test_a_client_may_be_answered_at_once_and_ask_again_by_its_key(server: LiveServer) -> None:
    first = paint(server, **ASKED, prefer="respond-async", key="once")
    assert (first.status_code, first.headers["Preference-Applied"]) == (202, "respond-async")
    second = paint(server, **ASKED, prefer="wait=60", key="once")
    assert (second.status_code, second.headers["Preference-Applied"]) == (200, "wait=60")
    assert second.headers["Location"] == first.headers["Location"]
    assert paint(server, text="another", key="once").status_code == 422


def test_a_job_that_is_cancelled_while_its_client_waits_is_an_error_in_its_form(server: LiveServer) -> None:
    first = paint(server, text="to be cancelled", strokes=150, prefer="respond-async", key="cancelled")
    server.client.post(f"{first.headers['Location']}cancel/")
    reply = paint(server, text="to be cancelled", strokes=150, key="cancelled")
    assert (reply.status_code, reply.json()) == (409, {"spilt": "The result was cancelled."})


def test_a_client_that_leaves_cancels_nothing(server: LiveServer) -> None:
    with pytest.raises(httpx.ReadTimeout):
        paint(server, text="left alone", strokes=100, timeout=0.4)
    [job] = server.client.get("/api/jobs/", params={"q": "left alone"}).json()["results"]
    server.wait_until(lambda: server.client.get(job["links"]["self"]).json()["finished_at"], "it has ended")
    assert server.client.get(job["links"]["self"]).json()["status"] == "succeeded"


def test_a_stream_tells_what_happens_as_it_happens(server: LiveServer) -> None:
    lines = paint(server, **ASKED, live=True).text.split("\n\n")
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[0] == {"status": {"status": "queued"}}
    assert "result" in [name for event in told for name in event]


def test_a_client_that_leaves_a_stream_cancels_nothing(server: LiveServer) -> None:
    body = {"text": "a stream left", "strokes": 60, "live": True}
    with server.client.stream("POST", "/easel/paint", json=body) as reply:
        next(reply.iter_lines())
        job = reply.headers["Location"]
    server.wait_until(lambda: server.client.get(job).json()["finished_at"], "it has ended")
    assert server.client.get(job).json()["status"] == "succeeded"
