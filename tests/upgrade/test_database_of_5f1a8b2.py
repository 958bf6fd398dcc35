"""A data folder that version 5f1a8b2 wrote is still usable: its rows, files, parameters and keys.

`5f1a8b2/` holds its database (as SQL) and pictures: four pictures of three jobs, two layout scores, a clip score, a chat, a loaded
model, one queued and one cancelled job, and an API key.
"""

import gzip
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import LiveServer

pytestmark = [pytest.mark.own_database, pytest.mark.slow]
OLD = Path(__file__).parent / "5f1a8b2"
OLD_KEY = "drk_r39taxn4_rKiveDZ0EOAuP0y-Lmd5i5r6RTXW-iArrb27vWjLWtY"
QUEUED = "01a21d7e-b350-721e-88ca-c740ded7e118"


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with a new staff key, of a server that was started on the old data folder."""
    folder = tmp_path_factory.mktemp("old")
    with sqlite3.connect(folder / "darkroom.sqlite3") as database:
        database.executescript(gzip.decompress((OLD / "database.sql.gz").read_bytes()).decode())
    database.close()
    shutil.copytree(OLD / "media", folder / "media")
    with LiveServer(folder) as server:
        key = next(word for word in server.manage("create_key", "new", "--scope", "staff").split() if word.startswith("drk_"))
        with httpx.Client(base_url=server.url, timeout=120, headers={"Authorization": f"Bearer {key}"}) as client:
            yield client


def jobs(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/api/jobs/", params={"limit": "100", **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/api/jobs/{job_id}/").json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.2)
    raise AssertionError(f"Job {job_id} has not ended")


def test_every_job_is_there_with_its_result(staff: httpx.Client) -> None:
    found = [job for job in jobs(staff) if job["retry_of"] is None and job["id"] != QUEUED]
    wanted = ["chat", "clip_score", "img2img", "layout_score", "layout_score", "load_model", "txt2img", "txt2img"]
    assert sorted(job["kind"] for job in found if job["status"] == "succeeded") == wanted
    assert [job["kind"] for job in found if job["status"] == "cancelled"] == ["txt2img"]
    for job in found:
        answer = staff.get(f"/api/jobs/{job['id']}/").json()
        assert answer["params"]
        assert bool(answer["result"]) == (job["status"] == "succeeded")


def test_every_picture_and_its_file_are_there(staff: httpx.Client) -> None:
    images = staff.get("/api/images/", params={"limit": "100"}).json()["results"]
    assert len(images) >= 3
    for image in images:
        assert staff.get(image["url"]).content[:4] in (b"\x89PNG", b"RIFF", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1")
        assert staff.get(image["thumbnail_url"]).status_code == 200
    origins = {image["prompt"]: (image["origin"], image["source"] is not None) for image in images}
    assert origins["A serene lake at sunset"] == ("generated", False)
    assert origins["a boat on a lake"] == ("edited", True)
    assert any(image["rating"] == 4 and image["favourite"] and image["tags"] == ["lake"] for image in images)


def test_a_job_that_was_queued_is_run(staff: httpx.Client) -> None:
    assert ended(staff, QUEUED)["status"] == "succeeded"


@pytest.mark.parametrize("kind", ["txt2img", "img2img", "layout_score", "clip_score", "chat", "load_model"])
def test_an_old_job_can_be_retried(staff: httpx.Client, kind: str) -> None:
    old = next(job for job in jobs(staff, kind=kind) if job["status"] == "succeeded" and job["retry_of"] is None)
    answer = staff.post(f"/api/jobs/{old['id']}/retry/")
    assert answer.status_code == 202, answer.text
    new = ended(staff, answer.json()["id"])
    assert (new["status"], new["retry_of"]) == ("succeeded", old["id"])


def test_an_old_key_still_opens_the_api(staff: httpx.Client) -> None:
    answer = httpx.get(f"{staff.base_url}/api/jobs/", headers={"Authorization": f"Bearer {OLD_KEY}"})
    assert answer.json().get("results") == [], answer.text


def test_the_old_conversation_is_there(staff: httpx.Client) -> None:
    conversations = staff.get("/api/conversations/").json()["results"]
    assert [conversation["model_id"] for conversation in conversations][-1] == "starter-vlm"
