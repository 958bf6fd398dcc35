"""Prompt scores and best of K, with the starter's real weights, through a real server and worker."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images.test_txt2img import psnr
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
CIRCLE = {"prompt": "a red circle above a blue square", "steps": 6, "seed": 100}
BF16 = 0.004  # by so much a cosine in bfloat16 moves with the batch that it was computed in
FIGURES = {"clip_cosine", "clip_model", "clip_score", "clip_score_hessel"}


@pytest.fixture(scope="module")
def server(starter_server: LiveServer) -> LiveServer:
    return starter_server


def make(server: LiveServer, path: str = "/api/txt2img/", **fields: Any) -> dict[str, Any]:
    reply = server.client.post(path, json={**CIRCLE, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def pixels(server: LiveServer, image: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(server.client.get(image["url"]).content)).convert("RGB")


@pytest.fixture(scope="module")
def singles(server: LiveServer) -> dict[int, dict[str, Any]]:
    """Five requests of one picture each, by their seeds."""
    return {seed: make(server, seed=seed)["result"]["images"][0] for seed in range(100, 105)}


def test_every_picture_has_its_prompt_s_four_figures(server: LiveServer, singles: dict[int, dict[str, Any]]) -> None:
    for image in singles.values():
        scores = image["scores"]
        assert scores.keys() == FIGURES
        assert scores["clip_score"] == pytest.approx(100 * scores["clip_cosine"], abs=1e-3)
        assert scores["clip_score_hessel"] == pytest.approx(250 * scores["clip_cosine"], abs=1e-3)
        row = server.client.get(f"/api/images/{image['id']}/").json()
        assert (row["clip_score"], row["scores"], row["rank"]) == (scores["clip_score"], scores, None)


def test_a_true_prompt_scores_higher_than_a_false_one(server: LiveServer) -> None:
    image = make(server, steps=20, seed=102, prompt="a red circle")["result"]["images"][0]
    true = image["scores"]["clip_cosine"]
    source = {"image": image["id"], "strength": 0, "prompt": "a pizza on a plate"}
    false = make(server, "/api/img2img/", **source)["result"]["images"][0]["scores"]["clip_cosine"]
    assert true > false + 0.2


def test_the_time_that_scores_take_is_told_and_they_are_in_the_file(server: LiveServer) -> None:
    job = make(server)
    image = job["result"]["images"][0]
    data = server.client.get(image["url"]).content
    assert job["timings"]["score"] > 0
    assert json.loads(Image.open(io.BytesIO(data)).text["darkroom"])["scores"] == image["scores"]  # type: ignore[attr-defined]


def test_pictures_are_found_and_ordered_by_their_score(server: LiveServer, singles: dict[int, dict[str, Any]]) -> None:
    ordered = sorted((image["scores"]["clip_score"] for image in singles.values()), reverse=True)
    asked = {"q": "red circle above", "min_clip_score": ordered[2], "order": "clip_score"}
    found = server.client.get("/api/images/", params=asked).json()["results"]
    scores = [image["clip_score"] for image in found]
    assert scores == sorted(scores, reverse=True)
    assert set(ordered[:3]) <= set(scores)
    assert not set(ordered[3:]) & set(scores)


def test_the_best_of_five_is_the_best_of_five_single_requests(server: LiveServer, singles: dict[int, dict[str, Any]]) -> None:
    result = make(server, best_of=5)["result"]
    [image] = result["images"]
    alone = {seed: single["scores"]["clip_cosine"] for seed, single in singles.items()}

    assert alone[image["seed"]] >= max(alone.values()) - BF16
    for candidate in result["candidates"]:
        assert candidate["scores"]["clip_cosine"] == pytest.approx(alone[candidate["seed"]], abs=BF16)
    assert image["rank"] == 1


def test_a_picture_that_was_chosen_is_the_picture_of_its_seed(server: LiveServer, singles: dict[int, dict[str, Any]]) -> None:
    for image in make(server, best_of=5, num_images=5)["result"]["images"]:
        assert psnr(pixels(server, image), pixels(server, singles[image["seed"]])) >= 40


def test_the_candidates_are_told_best_first_with_gain_and_spread(server: LiveServer) -> None:
    result = make(server, best_of=5, num_images=2)["result"]
    candidates, ranking = result["candidates"], result["ranking"]
    cosines = [candidate["scores"]["clip_cosine"] for candidate in candidates]

    assert [candidate["rank"] for candidate in candidates] == [1, 2, 3, 4, 5]
    assert sorted(candidate["seed"] for candidate in candidates) == [100, 101, 102, 103, 104]
    assert cosines == sorted(cosines, reverse=True)
    assert [(image["seed"], image["rank"]) for image in result["images"]] == [
        (each["seed"], each["rank"]) for each in candidates[:2]
    ]
    assert (ranking["rank_by"], ranking["score"], ranking["scored"]) == ("clip", "clip_cosine", 5)
    assert ranking["gain"] == pytest.approx(cosines[0] - np.mean(cosines), abs=1e-5)
    assert ranking["sd"] == pytest.approx(np.std(cosines, ddof=1), abs=1e-5)


def test_a_choice_by_clip_is_told_by_a_second_scorer_as_well(server: LiveServer) -> None:
    job = make(server, best_of=3)
    ratings = [candidate["scores"]["aesthetic_score"] for candidate in job["result"]["candidates"]]
    assert job["warnings"] == []
    assert all(0 <= rating <= 100 for rating in ratings)


def test_candidates_are_ranked_by_their_looks(server: LiveServer) -> None:
    candidates = make(server, best_of=4, rank_by="aesthetic")["result"]["candidates"]
    ratings = [candidate["scores"]["aesthetic_score"] for candidate in candidates]
    assert ratings == sorted(ratings, reverse=True)
    assert len(set(ratings)) == 4


@pytest.mark.parametrize("rank_by", ["layout", {"clip": 0.7, "layout": 0.3}])
def test_candidates_are_ranked_by_what_was_asked_and_told_by_clip_as_well(server: LiveServer, rank_by: Any) -> None:
    result = make(server, best_of=4, rank_by=rank_by)["result"]
    scores = [candidate["score"] for candidate in result["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert result["ranking"]["rank_by"] == rank_by
    assert all(
        candidate["scores"].keys() == {*FIGURES, "layout_score", "objects_score", "objects_missing"}
        for candidate in result["candidates"]
    )


def test_deterministic_chooses_the_same_bytes_twice(server: LiveServer) -> None:
    first, second = (make(server, best_of=3, deterministic=True)["result"] for _ in range(2))
    assert first["candidates"] == second["candidates"]
    assert pixels(server, first["images"][0]).tobytes() == pixels(server, second["images"][0]).tobytes()


def test_without_best_of_nothing_is_ranked(server: LiveServer) -> None:
    result = make(server, num_images=2)["result"]
    assert [image["rank"] for image in result["images"]] == [None, None]
    assert result["candidates"] == []
    assert "ranking" not in result


def test_img2img_chooses_too(server: LiveServer, singles: dict[int, dict[str, Any]]) -> None:
    result = make(server, "/api/img2img/", image=singles[100]["id"], strength=0.8, best_of=3)["result"]
    assert result["images"][0]["seed"] == result["candidates"][0]["seed"]
    assert len(result["candidates"]) == 3


def test_only_what_was_kept_is_on_disk_and_in_the_history(server: LiveServer) -> None:
    job = make(server, best_of=6, num_images=2)
    files = {path.name for path in (server.folder / "media").rglob("*.png")}
    rows = [row for row in server.client.get("/api/images/?limit=100").json()["results"] if row["job"] == job["id"]]
    assert len(rows) == 2
    assert {f"{row['id']}.png" for row in rows} <= files


def test_progress_counts_the_steps_of_all_candidates_with_previews(server: LiveServer) -> None:
    body = {**CIRCLE, "best_of": 10, "steps": 20, "width": 192, "height": 192}
    job = server.client.post("/api/txt2img/", json=body, headers={"Prefer": "respond-async"}).json()
    with server.client.stream("GET", job["links"]["events"]) as reply:
        lines = list(reply.iter_lines())
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    told = [event for event in data if "steps" in event and "stage" not in event]
    steps = [event["step"] for event in told]
    assert {event["steps"] for event in told} == {200}
    assert steps == sorted(steps)
    assert steps[-1] == 200
    assert any("preview" in event for event in data)


def test_a_contest_is_cancelled_within_a_step(server: LiveServer) -> None:
    body = {**CIRCLE, "best_of": 64, "steps": 100}
    job = server.client.post("/api/txt2img/", json=body, headers={"Prefer": "respond-async"}).json()
    path = job["links"]["self"]
    server.wait_until(lambda: server.client.get(path).json()["progress"].get("step", 0) > 8, "it runs")
    server.client.post(job["links"]["cancel"])
    server.wait_until(lambda: server.client.get(path).json()["status"] == "cancelled", "it is cancelled", 20)
    assert server.client.get(path).json()["result"] is None


def test_a_prompt_longer_than_clip_reads_is_scored_on_what_fits_with_a_warning(server: LiveServer) -> None:
    job = make(server, prompt="a red circle above a blue square, " * 30)
    assert job["result"]["images"][0]["scores"].keys() == FIGURES
    assert job["warnings"] == ["The prompt is longer than starter-clip reads: its score is for what fits."]


def test_the_marks_of_weights_are_no_words_for_the_score(server: LiveServer) -> None:
    plain, marked = (
        make(server, prompt=prompt, steps=1)["result"]["images"][0]["scores"]["clip_cosine"]
        for prompt in ("a red circle on a yellow ground", "a (red circle)1.0 on a (yellow)1.0 ground")
    )
    assert marked == pytest.approx(plain, abs=BF16)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"best_of": 0}, "best_of"),
        ({"best_of": 65}, "best_of"),
        ({"best_of": 10**400}, "best_of"),
        ({"best_of": 2, "num_images": 3}, "num_images"),
        ({"best_of": 3, "rank_by": "aestetic"}, "rank_by"),
        ({"best_of": 3, "rank_by": {}}, "rank_by"),
        ({"best_of": 3, "rank_by": {"clip": 0, "layout": 0}}, "rank_by"),
        ({"best_of": 3, "rank_by": {"clip": -1}}, "rank_by"),
        ({"best_of": 3, "rank_by": {"clip": 10**400}}, "rank_by"),
        ({"best_of": 3, "rank_by": {"clip": "1"}}, "rank_by"),
        ({"best_of": 3, "rank_by": {"beauty": 1}}, "rank_by"),
        ({"best_of": 3, "rank_by": ["clip"]}, "rank_by"),
        ({"best_of": 3, "rank_by": '{"clip": NaN}'}, "rank_by"),
    ],
)
def test_what_can_not_be_ranked_is_a_400_that_names_the_field(server: LiveServer, fields: dict[str, Any], field: str) -> None:
    reply = server.client.post("/api/txt2img/", json={**CIRCLE, **fields})
    assert reply.status_code == 400
    assert [error["field"] for error in reply.json()["errors"]] == [field]


def test_in_a_form_weights_are_json(server: LiveServer) -> None:
    form = {"prompt": "a lake", "steps": "2", "best_of": "2", "rank_by": '{"clip": 0.7, "layout": 0.3}'}
    reply = server.client.post("/api/txt2img/", files={name: (None, value) for name, value in form.items()})
    assert reply.status_code == 201, reply.text
    assert reply.json()["params"]["rank_by"] == {"clip": 0.7, "layout": 0.3}


def test_a_criterion_without_candidates_is_said_to_have_no_effect(server: LiveServer) -> None:
    job = make(server, rank_by="clip")
    assert job["warnings"] == ["rank_by has no effect without best_of: nothing is ranked."]
    assert "ranking" not in job["result"]
