"""A client of the older layout server, unchanged, against a real server and worker."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveServer
from tests.scoring.conftest import encoded, poster

pytestmark = pytest.mark.own_database

EVENT = {"title": "Midsummer Jazz Night", "description": "Live on the lake stage", "venue": "Lakeside", "date": None}
VARIANT = {
    "id": 3,
    "gradient": "bg-gradient-to-br from-purple-500 to-pink-600",
    "font": "font-sans text-4xl",
    "layout": "centered",
}
SCORES = ("aestheticScore", "compositionScore", "colorHarmonyScore", "balanceScore")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("dialect"), LOAD_MODELS="false", DATABASE_URL="") as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


def post(server: LiveServer, body: Any) -> Any:
    return server.client.post("/score", json=body)


def test_a_screenshot_with_its_variant_and_event_gets_four_numbers_and_a_text(server: LiveServer) -> None:
    image = f"data:image/png;base64,{encoded(poster())}"
    reply = post(server, {"image": image, "variant": VARIANT, "eventData": EVENT})
    body = reply.json()
    assert reply.status_code == 200
    assert body.keys() == {*SCORES, "reasoning"}
    assert all(0 <= body[name] <= 100 for name in SCORES)
    assert isinstance(body["reasoning"], str)


@pytest.mark.parametrize("image", [None, ""])
def test_without_an_image_the_variant_is_scored(server: LiveServer, image: str | None) -> None:
    body = post(server, {"image": image, "variant": VARIANT, "eventData": EVENT}).json()
    assert "There was no image" in body["reasoning"]
    assert all(isinstance(body[name], float) for name in SCORES)


def test_a_score_that_nothing_speaks_about_is_a_number_too(server: LiveServer) -> None:
    body = post(server, {"variant": {"gradient": "bg-blue-600"}}).json()
    assert body["balanceScore"] == body["aestheticScore"]


def test_it_is_the_same_score_as_the_api_gives(server: LiveServer) -> None:
    image = encoded(poster())
    ours = server.client.post("/api/score/", json={"image": image}).json()["result"]
    theirs = post(server, {"image": image}).json()
    assert [theirs[name] for name in SCORES] == [
        ours[name] for name in ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score")
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1],
        {"image": "no image"},
        {"image": 7},
        {"image": base64.b64encode(b"GIF89a").decode()},
        {"variant": "x", "eventData": 1},
    ],
)
def test_what_cannot_be_scored_is_a_400_with_a_detail(server: LiveServer, body: Any) -> None:
    reply = post(server, body)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/json")
    assert reply.json().keys() == {"detail"}


def test_a_client_that_does_not_wait_is_told_that_it_is_too_early(server: LiveServer) -> None:
    reply = server.client.post("/score", json={"variant": VARIANT}, headers={"Prefer": "respond-async"})
    assert (reply.status_code, reply.json()["detail"]) == (202, "The score is not ready yet.")
    assert reply.headers["Preference-Applied"] == "respond-async"
    assert server.client.get(reply.headers["Location"]).json()["id"] == reply.json()["job"]


def test_health_is_as_it_was(server: LiveServer) -> None:
    reply = server.client.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "healthy", "model": "heuristic", "device": "cpu"})


def test_every_score_is_a_job_in_the_history(server: LiveServer) -> None:
    post(server, {"variant": VARIANT, "eventData": {"title": "A title to be found"}})
    found = server.client.get("/api/jobs/", params={"q": "A title to be found"}).json()["results"]
    assert [(job["kind"], job["status"]) for job in found] == [("layout_score", "succeeded")]
