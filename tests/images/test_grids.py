"""A grid through a real server and worker: its cells, its picture, its end."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images.test_txt2img import picture, psnr
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
REQUEST = {"prompt": "a red lake", "seed": 42, "guidance_scale": 3}
AXES = [
    {"field": "prompt", "part": "red", "values": ["red", "green", "blue", "grey"]},
    {"field": "steps", "values": [2, 4]},
    {"field": "scheduler", "values": ["euler", "ddim", None]},
]


def open_picture(server: LiveServer, url: str) -> Image.Image:
    return Image.open(io.BytesIO(server.client.get(url).content)).convert("RGB")


@pytest.fixture(scope="module")
def grid(server: LiveServer) -> dict[str, Any]:
    reply = server.client.post("/api/grids/", json={"request": REQUEST, "axes": AXES})
    assert reply.status_code == 201, reply.text
    return reply.json()  # type: ignore[no-any-return]


def test_a_grid_of_24_cells_is_24_jobs_and_one_picture(server: LiveServer, grid: dict[str, Any]) -> None:
    result = grid["result"]
    assert (result["columns"], result["rows"], result["sheets"]) == (4, 2, 3)
    assert len({cell["job"] for cell in result["cells"]}) == 24
    assert open_picture(server, result["images"][0]["url"]).size == (
        result["images"][0]["width"],
        result["images"][0]["height"],
    )
    assert grid["progress"]["fraction"] == 1


def test_each_cell_is_its_request_made_alone(server: LiveServer, grid: dict[str, Any]) -> None:
    for cell in grid["result"]["cells"]:
        colour, steps, scheduler = (
            axis["values"][cell[place]] for axis, place in zip(AXES, ("column", "row", "sheet"), strict=True)
        )
        alone = {**REQUEST, "prompt": f"a {colour} lake", "steps": steps, "scheduler": scheduler}
        job = server.client.post("/api/txt2img/", json=alone).json()
        assert psnr(open_picture(server, cell["image"]["url"]), picture(server, job)) >= 40


def test_the_picture_shows_each_cell_in_its_box(server: LiveServer, grid: dict[str, Any]) -> None:
    whole = open_picture(server, grid["result"]["images"][0]["url"])
    for cell in grid["result"]["cells"]:
        box = cell["box"]
        shown = whole.crop((box["xmin"], box["ymin"], box["xmax"], box["ymax"]))
        assert np.array_equal(np.asarray(shown), np.asarray(open_picture(server, cell["image"]["url"])))


def test_the_picture_is_made_from_its_cells(server: LiveServer, grid: dict[str, Any]) -> None:
    row = server.client.get(f"/api/images/{grid['result']['images'][0]['id']}/").json()
    assert [source["id"] for source in row["sources"]] == [cell["image"]["id"] for cell in grid["result"]["cells"]]
    assert row["origin"] == "grid"


def test_the_picture_s_file_says_what_it_shows(server: LiveServer, grid: dict[str, Any]) -> None:
    image = grid["result"]["images"][0]
    texts = Image.open(io.BytesIO(server.client.get(image["url"]).content)).info
    assert texts["parameters"].startswith("a red lake\nSteps: 2, ")
    assert 'Script: X/Y/Z plot, X Type: prompt (red), X Values: "red, green, blue, grey", Y Type: steps' in texts["parameters"]
    assert json.loads(texts["darkroom"])["grid"] == grid["params"]
    by_file, by_id = (
        server.client.post("/api/png-info/", json={"image": sent}).json()
        for sent in (base64.b64encode(server.client.get(image["url"]).content).decode(), image["id"])
    )
    assert by_file["request"]["prompt"] == by_id["request"]["prompt"] == "a red lake"
    assert by_file["request"]["seed"] == 42
    for told in (by_file, by_id):
        assert "The picture is a grid: the request is for one of its cells." in " ".join(told["warnings"])


def test_an_estimate_knows_what_the_history_tells(server: LiveServer, grid: dict[str, Any]) -> None:
    told = server.client.post("/api/grids/estimate/", json={"request": REQUEST, "axes": AXES}).json()
    image = grid["result"]["images"][0]
    assert (told["width"], told["height"]) == (image["width"], image["height"])
    assert told["seconds"] > 0


def test_cancelling_a_grid_cancels_its_cells(server: LiveServer) -> None:
    body = {"request": {**REQUEST, "steps": 150}, "axes": [{"field": "seed", "values": list(range(40))}]}
    job = server.client.post("/api/grids/", json=body, headers={"Prefer": "respond-async"}).json()

    def state() -> dict[str, Any]:
        return server.client.get(job["links"]["self"]).json()  # type: ignore[no-any-return]

    def children() -> list[str]:
        jobs = server.client.get("/api/jobs/", params={"kind": "txt2img", "limit": 40}).json()["results"]
        return [one["status"] for one in jobs if one["params"]["steps"] == 150]

    server.wait_until(lambda: "steps" in state()["progress"], "its cells are asked for")
    server.client.post(job["links"]["cancel"])
    server.wait_until(lambda: state()["status"] == "cancelled", "it is cancelled")
    assert "running" not in children()
    assert "queued" not in children()
    assert children().count("cancelled") > 20
