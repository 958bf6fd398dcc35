"""PROMPT_SCORES=false: no picture is scored unless that was asked for."""

from collections.abc import Iterator

import pytest

from tests.live import LiveServer

pytestmark = [pytest.mark.models]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_catalog_file: str) -> Iterator[LiveServer]:
    settings = {"CATALOG_EXTRA": tiny_catalog_file, "DEFAULT_IMAGE_MODEL": "tiny", "PROMPT_SCORES": "false"}
    with LiveServer(tmp_path_factory.mktemp("unscored"), DATABASE_URL="", **settings) as live:
        yield live


def test_a_picture_is_made_without_a_score(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json={"prompt": "a lake"}).json()
    image = job["result"]["images"][0]
    assert (image["scores"], job["warnings"]) == ({}, [])
    assert "score" not in job["timings"]
    assert server.client.get(f"/api/images/{image['id']}/").json()["clip_score"] is None


def test_a_choice_by_clip_still_asks_clip_which_is_loaded_for_it(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json={"prompt": "a lake", "best_of": 3}).json()
    assert all(candidate["scores"]["clip_model"] == "starter-clip" for candidate in job["result"]["candidates"])
    assert job["progress"] == {"fraction": 1.0, "step": 3, "steps": 3}
