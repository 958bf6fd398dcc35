"""USE_LOCAL_MODELS=false: the same API, the same history, pictures from an inference server."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.backends.inference_server import InferenceServer
from tests.live import LiveServer

pytestmark = pytest.mark.own_database


@pytest.fixture(scope="module")
def inference() -> Iterator[InferenceServer]:
    with InferenceServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory, inference: InferenceServer) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("remote")
    settings = {
        "USE_LOCAL_MODELS": "false",
        "HF_TOKEN": "hf_secret",
        "HF_INFERENCE_ENDPOINT": inference.url,
        "DATABASE_URL": "",
    }
    with LiveServer(folder, DEFAULT_IMAGE_MODEL="sdxl-base-1.0", **settings) as live:
        yield live


def test_a_hosted_model_makes_the_picture_and_the_history_keeps_it(remote: LiveServer) -> None:
    job = remote.client.post("/api/txt2img/", json={"prompt": "a lake", "seed": 7, "width": 64, "height": 64}).json()
    assert job["status"] == "succeeded", job
    assert "remote" in job["timings"]
    picture = remote.client.get(job["result"]["images"][0]["url"])
    assert Image.open(io.BytesIO(picture.content)).size[0] > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("clip_skip", 1), ("scheduler", "euler"), ("deterministic", True), ("loras", [{"id": "lcm-lora-sdxl"}])],
)
def test_what_a_hosted_model_can_not_do_is_a_400_that_names_the_field(remote: LiveServer, field: str, value: object) -> None:
    reply = remote.client.post("/api/txt2img/", json={"prompt": "a lake", field: value})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == field


def test_a_hosted_model_s_pictures_are_scored_and_chosen_here(remote: LiveServer) -> None:
    body = {"prompt": "a lake", "seed": 7, "width": 64, "height": 64, "best_of": 3, "num_images": 2}
    job = remote.client.post("/api/txt2img/", json=body).json()
    assert job["status"] == "succeeded", job
    assert [image["rank"] for image in job["result"]["images"]] == [1, 2]
    assert sorted(candidate["seed"] for candidate in job["result"]["candidates"]) == [7, 8, 9]
    assert all(candidate["scores"]["clip_model"] == "starter-clip" for candidate in job["result"]["candidates"])
