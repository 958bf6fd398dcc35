"""A training that learned nothing never counts as one that did: whoever judges with it is told, and it replaces no other."""

import random
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from api.images.judges import make_judges
from api.images.ranking import weights_of
from api.runtime.judge_registry import settle
from api.scoring.backends.heuristic import MODEL
from api.scoring.backends.layout import Layout
from api.scoring.models import CustomScorer
from api.scoring.scorers import check_name, get_scorer
from api.scoring.taste.judgements import compare
from api.scoring.taste.scorers import find_scorer
from api.scoring.taste.training import advise
from tests.rows import make_picture
from tests.scoring.test_taste_admin import COMPARE, FIGURES, TASTE, make_scorer

pytestmark = pytest.mark.django_db
NOTHING = {
    **TASTE,
    "extractor": MODEL,
    "learned": False,
    "summary": "Nothing was learned from 20 comparisons.",
    "weights": [0.0],
}
PROMPT = "a red circle"


@pytest.fixture(autouse=True)
def _media(media: Any) -> None:
    """Files of this test alone."""


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def make_failed(version: int = 1, **fields: Any) -> CustomScorer:
    return make_scorer(version, **{"learned": False, "taste": NOTHING, "comparisons": 20, **fields})


def warnings_of_ranking(rank_by: Any) -> list[str]:
    told: list[str] = []
    for judge in make_judges(list(weights_of(rank_by)), lambda prompt, text: told.append(f"{prompt}: {text}")):
        judge.load(lambda fraction, text: None)
        judge.score([picture(), picture()], [PROMPT, PROMPT])
    return told


@pytest.mark.parametrize("rank_by", ["custom:mine@1", {"custom:mine@1": 0.5, "layout": 0.5}])
def test_candidates_ranked_by_it_bring_a_warning(rank_by: Any) -> None:
    make_failed()
    [warning] = warnings_of_ranking(rank_by)
    assert warning.startswith("a red circle: custom:mine@1 learned nothing, so that its scores say no more than chance.")
    assert "20 comparisons" in warning


def test_candidates_ranked_by_one_that_learned_bring_none() -> None:
    make_scorer(taste={**TASTE, "extractor": MODEL})
    assert warnings_of_ranking("custom:mine@1") == []


def test_candidates_are_told_too_that_the_measures_are_taken_otherwise_than_in_training() -> None:
    make_scorer(taste={**TASTE, "extractor": "an-older-one"})
    [warning] = warnings_of_ranking("custom:mine@1")
    assert "learned from measures as an-older-one took them" in warning


def test_a_picture_scored_by_it_brings_the_same_warning_and_no_reason_that_claims_more() -> None:
    make_failed()
    scorer: Any = get_scorer("custom:mine")
    [verdict] = scorer.score(picture(), [Layout()])
    [warning] = [text for text in verdict.warnings if "custom:mine" in text]
    assert "learned nothing" in warning
    assert verdict.reasoning == (
        f"mine@1 learned nothing: its score of {verdict.scores['aesthetic_score']:.0f} does not say what its raters would prefer.",
    )


def test_it_does_not_replace_the_version_that_learned() -> None:
    make_scorer(1)
    make_failed(2)
    assert (settle("custom:mine"), check_name("custom:mine")) == ("custom:mine@1", "custom:mine@1")
    assert (settle("custom:mine@2"), check_name("custom:mine@2")) == ("custom:mine@2", "custom:mine@2")
    assert str(find_scorer("mine")) == "mine@2"  # to look at, and to delete


def test_where_none_learned_the_newest_is_used_and_says_so() -> None:
    make_failed(1)
    make_failed(2)
    assert settle("custom:mine") == "custom:mine@2"
    assert "custom:mine@2 learned nothing" in warnings_of_ranking("custom:mine@2")[0]


# ---------------------------------------------------------------- what people are told


def choose_at_random(count: int) -> None:
    rng = random.Random(0)
    for _ in range(count):
        first, second = make_picture().file, make_picture().file
        compare(owner_key="local", first=first, second=second, preferred=rng.choice((first, second)))


def test_compare_does_not_call_that_enough_from_which_nothing_was_learned(admin_client: Client) -> None:
    choose_at_random(20)
    assert "enough to train a scorer" in admin_client.get(COMPARE).content.decode()
    make_failed()
    page = admin_client.get(COMPARE).content.decode()
    assert "custom:mine@1, learned nothing from 20 judgements: give 7 more before the next one." in page
    assert "Train a scorer</a>" not in page


def test_a_third_more_judgements_are_enough_to_try_again() -> None:
    make_failed()
    choose_at_random(27)
    assert advise("images") == (
        "The newest training, custom:mine@1, learned nothing from 20 judgements; there are 27 now, enough to train again.",
        True,
    )
    make_scorer(2, figures=FIGURES, comparisons=27)
    assert advise("images") == ("custom:mine@2 was trained on 27 judgements; there are 27 now.", True)


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_are_told_with_what_is_missing(count: int) -> None:
    choose_at_random(count)
    sentence, is_enough = advise("images")
    assert not is_enough
    assert f"so {20 - count} more" in sentence
