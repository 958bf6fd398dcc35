"""Best of K: the order, the figures beside it, and what may be forgotten on the way."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.images.ranking import Candidate, rank, still_eligible, summarize

figures = st.integers(-20, 20).map(lambda number: number / 20)
all_scores = st.fixed_dictionaries({"clip_cosine": figures, "layout_score": figures, "aesthetic_score": figures})
criteria = st.sampled_from(["clip", "layout", "aesthetic"])
weightings = st.dictionaries(criteria, st.sampled_from([0.3, 0.7, 1.0, 5.0]), min_size=1)
rankings = criteria | weightings


@st.composite
def contests(draw: st.DrawFn) -> list[Candidate]:
    """Candidates of one request, in an order in which they might be scored."""
    found = [Candidate(seed, scores) for seed, scores in enumerate(draw(st.lists(all_scores, min_size=1, max_size=12)))]
    random.Random(draw(st.integers())).shuffle(found)
    return found


def seeds(candidates: list[Candidate], rank_by: object) -> list[int]:
    return [place.candidate.seed for place in rank(candidates, rank_by)]  # type: ignore[arg-type]


def clips(*cosines: float | None) -> list[Candidate]:
    return [Candidate(seed, {"clip_cosine": cosine}) for seed, cosine in enumerate(cosines)]


def test_the_highest_cosine_comes_first_and_ties_go_to_the_lower_seed() -> None:
    assert seeds(clips(0.2, 0.31, 0.25, 0.31), "clip") == [1, 3, 2, 0]


def test_gain_is_the_best_over_the_mean_and_sd_that_of_a_sample() -> None:
    told = summarize(rank(clips(0.2, 0.3, 0.25), "clip"), "clip")
    assert told == {
        "rank_by": "clip",
        "score": "clip_cosine",
        "scored": 3,
        "best": 0.3,
        "mean": 0.25,
        "gain": 0.05,
        "sd": 0.05,
    }


def test_one_candidate_gains_nothing_and_spreads_nothing() -> None:
    told = summarize(rank(clips(0.2), "clip"), "clip")
    assert (told["best"], told["gain"], told["sd"]) == (0.2, 0, 0)


def test_what_could_not_be_scored_stands_at_the_end_without_a_rank() -> None:
    places = rank(clips(None, 0.1, math.nan, 0.2), "clip")
    assert [(place.candidate.seed, place.rank) for place in places] == [(3, 1), (1, 2), (0, None), (2, None)]


def test_where_nothing_could_be_scored_the_seeds_are_the_order() -> None:
    places = rank(clips(None, None), "clip")
    assert [place.candidate.seed for place in places] == [0, 1]
    assert summarize(places, "clip")["best"] is None


def test_weights_compare_criteria_by_their_z_scores_not_by_their_units() -> None:
    candidates = [
        Candidate(0, {"clip_cosine": 0.30, "layout_score": 50}),
        Candidate(1, {"clip_cosine": 0.20, "layout_score": 90}),
        Candidate(2, {"clip_cosine": 0.25, "layout_score": 70}),
    ]
    assert seeds(candidates, {"clip": 0.7, "layout": 0.3}) == [0, 2, 1]
    assert seeds(candidates, {"clip": 0.3, "layout": 0.7}) == [1, 2, 0]
    assert [place.score for place in rank(candidates, {"clip": 0.7, "layout": 0.3})] == pytest.approx([0.4, 0, -0.4])


def test_a_criterion_that_nothing_was_scored_by_leaves_the_others_to_decide() -> None:
    places = rank(clips(0.1, 0.2), {"clip": 0.1, "aesthetic": 0.9})
    assert [place.candidate.seed for place in places] == [1, 0]
    assert summarize(places, {"clip": 0.1, "aesthetic": 0.9})["score"] == "clip_cosine"


def test_a_weight_of_0_counts_for_nothing() -> None:
    candidates = [
        Candidate(0, {"clip_cosine": 0.1, "layout_score": 90}),
        Candidate(1, {"clip_cosine": 0.2, "layout_score": 10}),
    ]
    assert seeds(candidates, {"clip": 1, "layout": 0}) == [1, 0]


@given(contests(), rankings)
def test_the_order_of_arrival_does_not_matter(candidates: list[Candidate], rank_by: object) -> None:
    assert seeds(candidates, rank_by) == seeds(sorted(candidates, key=lambda each: each.seed), rank_by)


@given(contests(), rankings)
def test_the_gain_is_never_negative_and_everyone_has_a_rank(candidates: list[Candidate], rank_by: object) -> None:
    places = rank(candidates, rank_by)  # type: ignore[arg-type]
    assert summarize(places, rank_by)["gain"] >= 0  # type: ignore[arg-type]
    assert [place.rank for place in places] == list(range(1, len(candidates) + 1))


@given(contests(), rankings, st.integers(1, 4))
def test_the_winners_are_never_forgotten_on_the_way(candidates: list[Candidate], rank_by: object, places: int) -> None:
    held: list[Candidate] = []
    for candidate in candidates:
        kept = still_eligible([*held, candidate], rank_by, places)  # type: ignore[arg-type]
        held = [each for each in [*held, candidate] if each.seed in kept]
    assert set(seeds(candidates, rank_by)[:places]) <= {each.seed for each in held}


@given(contests(), criteria, st.integers(1, 4))
def test_by_one_criterion_no_more_than_the_winners_are_kept(candidates: list[Candidate], rank_by: str, places: int) -> None:
    assert len(still_eligible(candidates, rank_by, places)) == min(places, len(candidates))
