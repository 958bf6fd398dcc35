"""`rank_by: objects` with the models in the repository, through a real server and worker."""

from typing import Any

import pytest

from tests.live import LiveServer

pytestmark = pytest.mark.models
BOAT = {"prompt": "a sailing boat on the sea by day with birds", "steps": 6, "seed": 100, "best_of": 3}


@pytest.fixture(scope="module")
def server(starter_server: LiveServer) -> LiveServer:
    return starter_server


def make(server: LiveServer, **fields: Any) -> dict[str, Any]:
    reply = server.client.post("/api/txt2img/", json={**BOAT, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def test_candidates_are_ranked_by_what_is_found(server: LiveServer) -> None:
    job = make(server, rank_by="objects", steps=20)
    scores = [candidate["scores"]["objects_score"] for candidate in job["result"]["candidates"]]
    assert job["warnings"] == []
    assert job["result"]["ranking"]["score"] == "objects_score"
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] <= 1
    best = job["result"]["candidates"][0]["scores"]
    assert best["objects_missing"] == []
    assert server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()["scores"] == best


def test_objects_and_clip_decide_together(server: LiveServer) -> None:
    weights = {"clip": 0.5, "objects": 0.5}
    job = make(server, rank_by=weights)
    assert job["warnings"] == []
    assert (job["result"]["ranking"]["rank_by"], job["result"]["ranking"]["score"]) == (weights, "weighted_z")
    assert job["result"]["ranking"]["scored"] == 3


def test_every_choice_is_told_by_the_objects_too(server: LiveServer) -> None:
    job = make(server)
    assert job["result"]["ranking"]["score"] == "clip_cosine"
    assert all(0 <= candidate["scores"]["objects_score"] <= 1 for candidate in job["result"]["candidates"])


def test_a_prompt_that_names_nothing_known_is_chosen_by_clip_with_a_warning(server: LiveServer) -> None:
    job = make(server, prompt="a purple to pink gradient", rank_by={"clip": 0.5, "objects": 0.5})
    assert job["warnings"] == ["The prompt names nothing that starter-detector knows: the pictures have no objects score."]
    assert job["result"]["ranking"]["score"] == "clip_cosine"
    assert {candidate["scores"]["objects_score"] for candidate in job["result"]["candidates"]} == {None}


def test_by_objects_alone_such_a_prompt_is_not_ranked_and_says_so(server: LiveServer) -> None:
    job = make(server, prompt="a purple to pink gradient", rank_by="objects")
    assert job["warnings"] == [
        "The prompt names nothing that starter-detector knows: the pictures have no objects score.",
        "3 of 3 candidates could not be ranked.",
    ]
    assert [candidate["rank"] for candidate in job["result"]["candidates"]] == [None] * 3
    assert job["result"]["images"][0]["seed"] == 100


def test_a_second_opinion_that_has_nothing_to_say_is_no_warning(server: LiveServer) -> None:
    job = make(server, prompt="a purple to pink gradient")
    assert job["warnings"] == []
    assert {candidate["scores"]["objects_score"] for candidate in job["result"]["candidates"]} == {None}
