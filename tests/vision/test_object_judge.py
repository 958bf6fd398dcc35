"""The judge of best-of-N that counts what a detector finds of what the prompt asks for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import DarkroomError
from api.images.best_of import check_best_of
from api.images.judges import GuardedJudge, independent_criteria
from api.images.ranking import Candidate, rank, summarize
from api.runtime.judge_registry import kind_of
from api.starter.world.labels import NAMES
from api.vision.asked_objects import asked_objects
from api.vision.boxes import Box
from api.vision.detection import Found
from api.vision.object_judge import NOTHING_ASKED, ObjectJudge, score_objects
from tests.vision.conftest import blank

MIDDLE = Box(40, 40, 60, 60)


def _found(label: str, score: float = 0.9, box: Box = MIDDLE) -> Found:
    return Found(label, NAMES.index(label), score, box)


def _score(prompt: str, *found: Found) -> tuple[float, list[str]]:
    scores = score_objects(asked_objects(prompt, NAMES), found)
    return scores["objects_score"], scores["objects_missing"]


def test_the_score_is_the_mean_of_what_was_asked_for() -> None:
    assert _score("a house and a boat", _found("house", 0.9), _found("boat", 0.7)) == (pytest.approx(0.8), [])
    assert _score("a house and a boat", _found("house", 0.9)) == (pytest.approx(0.45), ["boat: 0 of 1"])
    assert _score("a house") == (0.0, ["house: 0 of 1"])


def test_what_nobody_asked_for_costs_nothing() -> None:
    assert _score("a house", _found("house"), _found("sun"), _found("boat")) == (0.9, [])


@pytest.mark.parametrize(
    ("count", "score", "missing"),
    [(1, 0.3, ["circle: 1 of 3"]), (2, 0.6, ["circle: 2 of 3"]), (3, 0.9, []), (4, 0.675, ["circle: 4 of 3"])],
)
def test_a_number_asks_for_exactly_so_many(count: int, score: float, missing: list[str]) -> None:
    found = [_found("circle", 0.9, Box(20 * place, 0, 20 * place + 10, 10)) for place in range(count)]
    assert _score("three red circles", *found) == (pytest.approx(score), missing)


def test_a_thing_is_one_and_missing_it_costs_more_than_a_second_one() -> None:
    two = [_found("moon", 0.9), _found("moon", 0.9, Box(80, 0, 99, 20))]
    assert _score("a full moon", *two) == (pytest.approx(0.45), ["moon: 2 of 1"])
    assert _score("a moon and a house", *two, _found("house"))[0] > _score("a moon and a house", two[0])[0]


def test_a_thing_that_is_named_as_the_only_one_is_one() -> None:
    two = [_found("moon", 0.9), _found("moon", 0.9, Box(80, 0, 99, 20))]
    assert _score("the moon", *two) == (pytest.approx(0.45), ["moon: 2 of 1"])
    assert _score("the moon", two[0]) == (0.9, [])


def test_without_a_number_one_is_enough_and_more_are_welcome() -> None:
    assert _score("pine trees", _found("pine tree"), _found("pine tree", 0.8)) == (0.9, [])


def test_what_is_not_to_be_there_costs_when_it_is() -> None:
    assert _score("a house, no boats", _found("house", 0.8)) == (pytest.approx(0.9), [])
    assert _score("a house, no boats", _found("house", 0.8), _found("boat", 0.6)) == (pytest.approx(0.6), ["boat: 1 of 0"])


@pytest.mark.parametrize(
    ("direction", "score"), [("to the left of", 0.9), ("to the right of", 0.6), ("above", 0.9), ("below", 0.6)]
)
def test_places_count(direction: str, score: float) -> None:
    circle, square = _found("circle", 0.9, Box(0, 0, 20, 20)), _found("square", 0.9, Box(50, 60, 80, 90))
    asked = _score(f"a red circle {direction} a blue square", circle, square)
    assert asked[0] == pytest.approx(score)
    assert bool(asked[1]) == (score < 0.9)


def test_one_thing_does_not_stand_left_of_itself() -> None:
    one, other = _found("circle", 0.9, Box(0, 0, 20, 20)), _found("circle", 0.8, Box(50, 0, 70, 20))
    prompt = "a red circle left of a blue circle"
    assert _score(prompt, one)[1] == ["circle: 1 of 2", "circle left of circle"]
    assert _score(prompt, one, other) == (pytest.approx(0.825), [])


def test_a_weak_find_is_missing_and_still_beats_none() -> None:
    weak = _score("a boat", _found("boat", 0.15))
    assert weak == (0.15, ["boat: 0 of 1"])
    assert weak[0] > _score("a boat")[0]


things = st.tuples(st.sampled_from(("circle", "square", "house")), st.floats(0.05, 1), st.floats(0, 100), st.floats(0, 100))


@given(
    st.lists(things, max_size=8),
    st.sampled_from(("two circles left of a square", "a house, no squares", "three houses", "a circle above two squares")),
)
def test_a_score_is_from_0_to_1_and_1_only_when_nothing_is_missing(found: list[Any], prompt: str) -> None:
    boxes = [_found(label, score, Box(x, y, x + 5, y + 5)) for label, score, x, y in found]
    score, missing = _score(prompt, *boxes)
    assert 0 <= score <= 1
    assert not missing or score < 1


# ---------------------------------------------------------------- the judge


def _judge(loader: Any) -> tuple[ObjectJudge, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    judge = ObjectJudge(loader, "tiny-yolo", lambda prompt, text: told.append((prompt, text)))
    judge.load(lambda fraction, text: None)
    return judge, told


@pytest.mark.models
def test_pictures_are_judged_by_their_own_prompts(loader: Any) -> None:
    """tiny-yolo sees a mèo, a chó right of it and a xe buýt in every picture."""
    judge, told = _judge(loader)
    scores = judge.score([blank()] * 4, ["một con mèo", "two mèo", "chó bên trái mèo", "xe buýt"])
    assert [one["objects_missing"] for one in scores] == [[], ["mèo: 1 of 2"], ["chó left of mèo"], []]
    assert scores[0]["objects_score"] == pytest.approx(0.9, abs=1e-3)
    assert told == []


@pytest.mark.models
def test_a_prompt_that_names_nothing_known_has_no_score_and_is_told_once(loader: Any) -> None:
    judge, told = _judge(loader)
    assert judge.score([blank(), blank()], ["một ngôi nhà", "một con mèo"])[0] == {"objects_score": None}
    assert judge.score([blank()], ["một ngôi nhà"]) == [{"objects_score": None}]
    assert told == [("một ngôi nhà", NOTHING_ASKED.format(model="tiny-yolo"))]


@pytest.mark.models
def test_a_model_that_has_left_memory_is_not_loaded_by_the_scoring_thread(loader: Any) -> None:
    judge, _ = _judge(loader)
    loader.unload("tiny-yolo")
    with pytest.raises(DarkroomError) as error:
        judge.score([blank()], ["một con mèo"])
    assert error.value.code == "not_loaded"


@pytest.mark.models
def test_compel_marks_are_not_read(loader: Any) -> None:
    judge = GuardedJudge("objects", lambda prompt, text: None)
    judge.load(lambda fraction, text: None)
    assert judge.score([blank()], ["một con (mèo)++"])[0]["objects_missing"] == []


def test_a_score_that_nothing_has_leaves_the_other_criterion_to_decide() -> None:
    candidates = [Candidate(seed, {"clip_cosine": 0.1 * seed, "objects_score": None}) for seed in (1, 2, 3)]
    places = rank(candidates, {"clip": 0.5, "objects": 0.5})
    assert [place.candidate.seed for place in places] == [3, 2, 1]
    assert summarize(places, {"clip": 0.5, "objects": 0.5})["score"] == "clip_cosine"


def test_what_can_not_judge_here_is_said_with_its_setting(settings: Any) -> None:
    settings.DEFAULT_DETECTION_MODEL = "starter-clip"
    assert "DEFAULT_DETECTION_MODEL" in kind_of("objects").missing()
    with pytest.raises(Exception, match="DEFAULT_DETECTION_MODEL") as error:
        check_best_of({"best_of": 3, "num_images": 1, "rank_by": {"clip": 1, "objects": 1}})
    assert error.value.get_codes() == {"rank_by": ["unavailable"]}


@pytest.mark.models
def test_objects_are_a_second_opinion_of_every_choice(loader: Any) -> None:
    assert "objects" in independent_criteria(["clip"])
    assert "objects" in independent_criteria(["layout"])
    assert "objects" not in independent_criteria(["objects", "clip"])
