"""A prompt becomes a picture, through a real server, worker and pipeline."""

import base64
import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.live import LiveServer
from tests.parameters import read_parameters

pytestmark = [pytest.mark.models]
LAKE = {"prompt": "A serene lake at sunset", "negative_prompt": "blurry, low quality", "seed": 42}


def picture(server: LiveServer, job: dict) -> Image.Image:
    return Image.open(io.BytesIO(server.client.get(job["result"]["images"][0]["url"]).content)).convert("RGB")


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_a_prompt_becomes_a_finished_job_with_a_picture(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", json={**LAKE, "steps": 4, "guidance_scale": 5})
    job = reply.json()
    assert reply.status_code == 201, job
    assert job["status"] == "succeeded"
    assert job["params"]["seed"] == 42
    assert job["progress"]["fraction"] == 1.0
    assert {"queue", "load", "encode", "denoise", "decode", "save"} <= job["timings"].keys()
    assert picture(server, job).size == (64, 64)


def test_the_picture_is_under_media_and_carries_its_parameters(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json=LAKE).json()
    image_id = job["result"]["images"][0]["id"]
    [file] = (server.folder / "media").rglob(f"{image_id}.png")
    text = Image.open(file).text
    assert text["parameters"].startswith("A serene lake at sunset\nNegative prompt: blurry, low quality\nSteps: 3")
    assert json.loads(text["darkroom"])["seed"] == 42


@pytest.mark.parametrize(
    ("output_format", "content_type"), [("jpeg", "image/jpeg"), ("webp", "image/webp"), ("avif", "image/avif")]
)
def test_other_formats_are_what_they_say(server: LiveServer, output_format: str, content_type: str) -> None:
    job = server.client.post("/api/txt2img/", json={**LAKE, "output_format": output_format}).json()
    reply = server.client.get(job["result"]["images"][0]["url"])
    assert reply.headers["content-type"] == content_type
    assert Image.open(io.BytesIO(reply.content)).format == output_format.upper()


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_the_longest_request_is_finished_and_its_file_tells_all_of_it(server: LiveServer, output_format: str) -> None:
    longest = {
        "prompt": "🌅" * 2000,
        "negative_prompt": "🌊" * 2000,
        "tags": [f"{number:02}" + "🏷" * 48 for number in range(20)],
    }
    job = server.client.post("/api/txt2img/", json={**LAKE, **longest, "output_format": output_format}).json()
    assert job["status"] == "succeeded", job
    assert not any("shortened" in warning for warning in job["warnings"])
    told = read_parameters(server.client.get(job["result"]["images"][0]["url"]).content)
    assert told is not None
    assert {name: told[name] for name in longest} == longest


def test_a_seed_that_is_not_given_is_drawn_and_told(server: LiveServer) -> None:
    first, second = (server.client.post("/api/txt2img/", json={"prompt": "a lake"}).json() for _ in range(2))
    assert first["params"]["seed"] != second["params"]["seed"]
    again = server.client.post("/api/txt2img/", json={"prompt": "a lake", "seed": first["params"]["seed"]}).json()
    assert psnr(picture(server, first), picture(server, again)) >= 40


def test_image_i_of_a_request_uses_seed_plus_i(server: LiveServer) -> None:
    several = server.client.post("/api/txt2img/", json={**LAKE, "num_images": 3}).json()
    assert [image["seed"] for image in several["result"]["images"]] == [42, 43, 44]
    alone = server.client.post("/api/txt2img/", json={**LAKE, "seed": 44}).json()
    third = Image.open(io.BytesIO(server.client.get(several["result"]["images"][2]["url"]).content)).convert("RGB")
    assert psnr(third, picture(server, alone)) >= 40


def test_deterministic_gives_the_same_bytes_twice(server: LiveServer) -> None:
    jobs = [server.client.post("/api/txt2img/", json={**LAKE, "deterministic": True}).json() for _ in range(2)]
    first, second = (np.asarray(picture(server, job)) for job in jobs)
    assert np.array_equal(first, second)


def test_requests_of_several_clients_join_the_one_that_runs_and_look_as_when_alone(server: LiveServer) -> None:
    alone = server.client.post("/api/txt2img/", json={**LAKE, "deterministic": True}).json()
    long = server.client.post("/api/txt2img/", json={**LAKE, "steps": 150}, headers={"Prefer": "respond-async"}).json()
    server.wait_until(lambda: server.client.get(long["links"]["self"]).json()["status"] == "running", "the long one runs")
    others = [
        {"prompt": "A serene lake at sunset"},
        {"prompt": "a red circle", "steps": 3, "scheduler": "dpmpp_2m_karras"},
        {"prompt": "a pizza on a plate", "steps": 5, "guidance_scale": 1},
        {"prompt": "a cactus in the desert, " * 20, "scheduler": "euler_a"},
    ]
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda other: server.client.post("/api/txt2img/", json={**LAKE, **other}).json(), others))
    assert [job["status"] for job in jobs] == ["succeeded"] * 4
    assert server.client.get(long["links"]["self"]).json()["status"] == "running", "they waited for the one before them"
    assert psnr(picture(server, alone), picture(server, jobs[0])) >= 40
    server.client.post(long["links"]["cancel"])


def test_include_base64_puts_the_file_into_the_reply(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/?include=base64", json=LAKE).json()
    image = job["result"]["images"][0]
    assert base64.b64decode(image["image_base64"]) == server.client.get(image["url"]).content


def test_a_lora_changes_the_picture_and_leaves_the_next_one_alone(server: LiveServer) -> None:
    body = {**LAKE, "deterministic": True}
    before = server.client.post("/api/txt2img/", json=body).json()
    styled = server.client.post("/api/txt2img/", json={**body, "loras": [{"id": "tiny-style", "weight": 1.0}]}).json()
    after = server.client.post("/api/txt2img/", json=body).json()
    assert styled["status"] == "succeeded", styled
    assert not np.array_equal(np.asarray(picture(server, before)), np.asarray(picture(server, styled)))
    assert np.array_equal(np.asarray(picture(server, before)), np.asarray(picture(server, after)))


def test_respond_async_answers_at_once_with_the_place_to_look(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", json={**LAKE, "steps": 30}, headers={"Prefer": "respond-async"})
    assert reply.status_code == 202
    assert reply.headers["preference-applied"] == "respond-async"
    assert reply.headers["location"] == reply.json()["links"]["self"]
    assert reply.json()["status"] in ("queued", "running")


def test_the_same_idempotency_key_is_the_same_job(server: LiveServer) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = (server.client.post("/api/txt2img/", json={"prompt": "a lake"}, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    other = server.client.post("/api/txt2img/", json={"prompt": "a sea"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_running_job_is_cancelled_within_some_steps(server: LiveServer) -> None:
    job = server.client.post(
        "/api/txt2img/", json={**LAKE, "steps": 150, "width": 256, "height": 256}, headers={"Prefer": "wait=0"}
    ).json()
    server.wait_until(lambda: server.client.get(job["links"]["self"]).json()["progress"].get("step", 0) > 1, "it runs")
    server.client.post(job["links"]["cancel"])
    server.wait_until(lambda: server.client.get(job["links"]["self"]).json()["status"] == "cancelled", "it is cancelled", 20)
    assert server.client.get(job["links"]["self"]).json()["progress"]["step"] < 150


def test_events_tell_progress_with_a_preview_and_end_with_the_result(server: LiveServer) -> None:
    job = server.client.post(
        "/api/txt2img/", json={**LAKE, "steps": 40, "width": 128, "height": 128}, headers={"Prefer": "wait=0"}
    ).json()
    with server.client.stream("GET", job["links"]["events"]) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = list(reply.iter_lines())
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert names[0] == "status"
    assert names[-2:] == ["result", "status"]
    assert "progress" in names
    assert numbers == sorted(set(numbers))
    with server.client.stream("GET", job["links"]["events"], headers={"Last-Event-ID": str(numbers[-3])}) as reply:
        rest = [line.removeprefix("event: ") for line in reply.iter_lines() if line.startswith("event: ")]
    assert rest == ["result", "status"]


def test_a_retry_is_a_new_job_that_makes_the_same_picture(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json={"prompt": "a lake"}).json()
    again = server.client.post(f"{job['links']['self']}retry/").json()
    server.wait_until(lambda: server.client.get(again["links"]["self"]).json()["status"] == "succeeded", "the retry is done")
    again = server.client.get(again["links"]["self"]).json()
    assert again["retry_of"] == job["id"]
    assert psnr(picture(server, job), picture(server, again)) >= 40


def test_deleting_a_job_deletes_its_files(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json=LAKE).json()
    image_id = job["result"]["images"][0]["id"]
    assert list((server.folder / "media").rglob(f"{image_id}*"))
    assert server.client.delete(job["links"]["self"]).status_code == 204
    assert not list((server.folder / "media").rglob(f"{image_id}*"))
    assert server.client.get(f"/api/images/{image_id}/").status_code == 404
