"""A client of the older generate server, unchanged, against a real server and worker with the starter's weights."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED = {
    "prompt": "a red circle",
    "negative_prompt": "blurry",
    "height": 128,
    "width": 96,
    "steps": 4,
    "guidance": 6.5,
    "seed": 42,
}


@pytest.fixture(scope="module")
def server(waiting_for_none: LiveServer) -> LiveServer:
    """Its own clients wait for none; those of the older server don't say so, and do."""
    return waiting_for_none


def post(server: LiveServer, body: Any, **options: Any) -> Any:
    return server.client.post("/generate", json=body, **options)


def test_a_prompt_becomes_a_picture_its_seed_and_its_score(server: LiveServer) -> None:
    reply = post(server, ASKED)
    body = reply.json()
    assert reply.status_code == 200
    assert body.keys() == {"image_base64", "seed", "clip_score"}
    assert body["seed"] == 42
    assert Image.open(io.BytesIO(base64.b64decode(body["image_base64"]))).size == (96, 128)


def test_the_score_is_hessel_s_and_the_job_has_all_that_was_asked(server: LiveServer) -> None:
    body = post(server, {**ASKED, "prompt": "a red circle to be found"}).json()
    [job] = server.client.get("/api/jobs/", params={"q": "to be found"}).json()["results"]
    job = server.client.get(job["links"]["self"]).json()
    assert body["clip_score"] == job["result"]["images"][0]["scores"]["clip_score_hessel"]
    asked = {name: job["params"][name] for name in ("negative_prompt", "height", "width", "steps", "guidance_scale", "seed")}
    assert asked == {"negative_prompt": "blurry", "height": 128, "width": 96, "steps": 4, "guidance_scale": 6.5, "seed": 42}


@pytest.mark.parametrize("seed", [None, -1])
def test_a_seed_that_is_none_is_drawn_and_told(server: LiveServer, seed: int | None) -> None:
    seeds = {post(server, {"prompt": "a lake", "steps": 1, "seed": seed}).json()["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_what_that_server_did_not_read_is_left_out(server: LiveServer) -> None:
    body = {**ASKED, "steps": 1, "num_candidates": 5, "scheduler": None, "negative_prompt": None}
    assert post(server, body).status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "prompt: "),
        ([1], ""),
        ({**ASKED, "guidance": 31}, "guidance: "),
        ({**ASKED, "width": 100, "steps": 0}, "steps: "),
        ({**ASKED, "seed": -2}, "seed: "),
        ({**ASKED, "prompt": 7.5, "guidance": "much"}, "guidance: "),
    ],
)
def test_what_cannot_be_made_is_a_400_with_a_detail(server: LiveServer, body: Any, said: str) -> None:
    reply = post(server, body)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/json")
    assert reply.json().keys() == {"detail"}
    assert said in reply.json()["detail"]


def test_a_client_that_does_not_wait_is_told_that_it_is_too_early(server: LiveServer) -> None:
    reply = post(server, ASKED, headers={"Prefer": "respond-async"})
    assert (reply.status_code, reply.json()["detail"]) == (202, "The picture is not ready yet.")
    assert reply.headers["Preference-Applied"] == "respond-async"
    assert server.client.get(reply.headers["Location"]).json()["id"] == reply.json()["job"]


def test_a_client_that_leaves_cancels_nothing(server: LiveServer) -> None:
    with pytest.raises(Exception, match="timed out"):
        post(server, {**ASKED, "prompt": "left alone by its reader", "steps": 100}, timeout=0.5)
    [job] = server.client.get("/api/jobs/", params={"q": "by its reader"}).json()["results"]
    server.wait_until(
        lambda: server.client.get(job["links"]["self"]).json()["status"] in ("succeeded", "cancelled", "failed"), "it has ended"
    )
    assert server.client.get(job["links"]["self"]).json()["status"] == "succeeded"
