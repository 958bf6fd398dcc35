"""Best of K by a scorer that was trained here: from the outside, with the starter's real weights."""

from typing import Any

import pytest

from tests.live import LiveServer

pytestmark = pytest.mark.models
LAKE, PIZZA = "A serene lake at sunset", "a pizza with pepperoni"
SMALL = {"steps": 4, "seed": 7}


@pytest.fixture(scope="module")
def server(starter_server: LiveServer) -> LiveServer:
    """With a scorer of somebody who prefers lakes to pizzas."""
    lakes, pizzas = (
        [image["id"] for start in (0, 50) for image in make(starter_server, prompt=prompt, num_images=12, seed=start)["images"]]
        for prompt in (LAKE, PIZZA)
    )
    for pair in zip(lakes, pizzas, strict=True):
        starter_server.client.post("/api/comparisons/", json={"images": pair, "preferred": pair[0]}).raise_for_status()
    reply = starter_server.client.post("/api/scorers/", json={"name": "lakes"})
    assert (reply.status_code, reply.json()["result"]["learned"]) == (201, True), reply.text
    return starter_server


def make(server: LiveServer, **fields: Any) -> Any:
    reply = server.client.post("/api/txt2img/", json={"prompt": LAKE, **SMALL, **fields})
    assert reply.status_code == 201, reply.text
    return {**reply.json()["result"], "params": reply.json()["params"], "warnings": reply.json()["warnings"]}


def test_candidates_are_ranked_by_the_scorer_alone(server: LiveServer) -> None:
    made = make(server, best_of=4, rank_by="custom:lakes")
    assert made["params"]["rank_by"] == "custom:lakes@1"
    scores = [candidate["scores"]["custom:lakes@1"] for candidate in made["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 100 for score in scores)
    assert [candidate["score"] for candidate in made["candidates"]] == [pytest.approx(score, abs=1e-4) for score in scores]
    assert made["images"][0]["scores"]["custom:lakes@1"] == scores[0]
    assert (made["ranking"]["score"], made["warnings"]) == ("custom:lakes@1", [])


def test_it_counts_beside_other_criteria_by_weights(server: LiveServer) -> None:
    made = make(server, best_of=4, rank_by={"clip": 0.5, "custom:lakes": 0.5})
    assert made["params"]["rank_by"] == {"clip": 0.5, "custom:lakes@1": 0.5}
    assert all({"clip_cosine", "custom:lakes@1"} <= candidate["scores"].keys() for candidate in made["candidates"])


def test_what_it_likes_scores_higher(server: LiveServer) -> None:
    liked, disliked = (make(server, prompt=prompt, best_of=2, rank_by="custom:lakes@1") for prompt in (LAKE, PIZZA))
    worst, best = (made["candidates"] for made in (liked, disliked))
    assert worst[-1]["score"] > best[0]["score"]


@pytest.mark.parametrize(
    ("rank_by", "hint"),
    [
        ("custom:lake", "'lakes'"),
        ("custom:lakes@9", "Its versions: 1."),
        ("custom:", "lakes"),
        ({"custom:lake": 1}, "'lakes'"),
        ("other:lakes", "There is no 'other:lakes'"),
    ],
)
def test_an_unknown_scorer_is_refused_with_the_nearest(server: LiveServer, rank_by: Any, hint: str) -> None:
    reply = server.client.post("/api/txt2img/", json={"prompt": LAKE, "best_of": 2, "rank_by": rank_by})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "rank_by")
    assert hint in reply.json()["errors"][0]["detail"]


def test_the_page_of_the_job_shows_its_scores(server: LiveServer) -> None:
    job = server.client.post("/api/txt2img/", json={"prompt": LAKE, **SMALL, "best_of": 3, "rank_by": "custom:lakes"}).json()
    page = server.client.get(f"/studio/jobs/{job['id']}/").text
    assert "The best of 3 by custom:lakes@1" in page


def test_a_picture_is_judged_over_http(server: LiveServer) -> None:
    image = make(server)["images"][0]["id"]
    result = server.client.post("/api/score/", json={"image": image, "backend": "custom:lakes"}).json()["result"]
    assert result["aesthetic_score"] > 50
    assert result["reasoning"][0].startswith("By what lakes@1 learned")
