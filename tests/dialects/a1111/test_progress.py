"""How far it is, and stopping it: with a job that runs."""

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image

from tests.dialects.a1111.conftest import ask, info, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
LONG: dict[str, Any] = {"prompt": "a long one", "steps": 150, "width": 128, "height": 128, "force_task_id": "task(long)"}


class Call(threading.Thread):
    """A client that waits for its pictures."""

    def __init__(self, server: LiveServer, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.server, self.body, self.reply = server, body, None
        self.start()

    def run(self) -> None:
        self.reply = ask(self.server, "txt2img", **self.body)


@contextmanager
def running(server: LiveServer, **fields: Any) -> Iterator[Call]:
    call = Call(server, {**LONG, **fields})
    until(lambda: progress(server)["state"]["sampling_step"] > 0)
    try:
        yield call
    finally:
        while progress(server)["state"]["job_count"]:
            server.client.post("/sdapi/v1/interrupt")
            time.sleep(0.05)
        call.join(60)


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def progress(server: LiveServer, query: str = "") -> Any:
    reply = server.client.get(f"/sdapi/v1/progress{query}")
    assert reply.status_code == 200, reply.text
    assert reply.json().keys() == {"progress", "eta_relative", "state", "current_image", "textinfo"}
    return reply.json()


def internal(server: LiveServer, **body: Any) -> Any:
    reply = server.client.post("/internal/progress", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_idle_is_nothing_of_nothing(server: LiveServer) -> None:
    told = progress(server)
    assert (told["progress"], told["state"]["job_count"], told["current_image"]) == (0, 0, None)
    assert told["state"].keys() >= {
        "skipped", "interrupted", "job", "job_count", "job_timestamp", "job_no", "sampling_step", "sampling_steps",
    }  # fmt: skip


@pytest.mark.parametrize("action", ["interrupt", "skip"])
def test_with_nothing_to_stop_stopping_is_json_all_the_same(server: LiveServer, action: str) -> None:
    assert server.client.post(f"/sdapi/v1/{action}").json() == {}
    assert server.client.post(f"/sdapi/v1/{action}", json={}).json() == {}


def test_a_job_under_way_is_told_with_a_picture_of_it(server: LiveServer) -> None:
    with running(server):
        first = progress(server)
        assert 0 < first["progress"] < 1
        assert (first["state"]["job_count"], first["state"]["sampling_steps"]) == (1, 150)
        picture = until(lambda: progress(server)["current_image"])
        assert max(Image.open(io.BytesIO(base64.b64decode(picture))).size) <= 256
        assert progress(server, "?skip_current_image=true")["current_image"] is None
        told = until(lambda: (one := internal(server, id_task="task(long)"))["live_preview"] and one)
        assert (told["active"], told["queued"], told["completed"]) == (True, False, False)
        assert told["live_preview"].startswith("data:image/jpeg;base64,")
        assert internal(server, id_task="task(long)", live_preview=False)["live_preview"] is None
    told = internal(server, id_task="task(long)")
    assert (told["active"], told["completed"], told["progress"]) == (False, True, None)


@pytest.mark.parametrize("action", ["interrupt", "skip"])
def test_who_waits_for_what_is_stopped_is_answered(server: LiveServer, action: str) -> None:
    with running(server, prompt=f"stopped by {action}") as call:
        assert server.client.post(f"/sdapi/v1/{action}").json() == {}
        call.join(30)
        told = info(call.reply)
        assert call.reply.json()["images"] == told["infotexts"] == []
        assert told["warnings"] == ["It was interrupted before a picture was finished."]
    [job] = server.client.get("/api/jobs/", params={"q": f"stopped by {action}"}).json()["results"]
    assert job["status"] == "cancelled"


def test_pictures_that_are_finished_are_given_back_and_kept(server: LiveServer) -> None:
    """The model works on eight at a time: of sixteen the first are finished long before the last."""
    fields = {"prompt": "stopped halfway", "steps": 40, "width": 64, "height": 64, "batch_size": 4, "n_iter": 4, "seed": 100}
    with running(server, **fields) as call:
        until(lambda: progress(server)["progress"] > 0.6)
        server.client.post("/sdapi/v1/interrupt")
        call.join(60)
        told, images = info(call.reply), pictures(call.reply)
    assert 0 < len(images) < 16
    assert told["all_seeds"] == [100 + number for number in range(len(images))]
    assert f"It was interrupted: {len(images)} of 16 pictures were finished by then." in told["warnings"]
    job = server.client.get(f"/api/jobs/{told['job']}/").json()
    assert (job["status"], len(job["result"]["images"])) == ("succeeded", len(images))


def test_jobs_of_the_other_apis_are_left_alone(server: LiveServer) -> None:
    body = {"prompt": "of the other API", "steps": 30, "width": 64, "height": 64}
    job = server.client.post("/api/txt2img/", json=body, headers={"Prefer": "respond-async"}).json()
    assert progress(server)["state"]["job_count"] == 0
    server.client.post("/sdapi/v1/interrupt")
    done = until(lambda: (one := server.client.get(job["links"]["self"]).json())["finished_at"] and one)
    assert done["status"] == "succeeded"
