"""The fits and their figures, on features that are made up: what is learned, and what is honestly not."""

from collections.abc import Callable

import numpy as np
import pytest

from api.scoring.backends.taste import FARTHEST, Floats, Judgements, Scaling, chance_to_win, fit, ranks, rotate, sigmoid
from api.scoring.backends.taste_evaluation import (
    GROUPS,
    accuracy_interval,
    learn,
    spearman,
    splits,
    wilson,
)

NONE, NO_PAIRS = np.zeros(0), np.zeros((0, 2), dtype=np.int64)
PLACES = np.zeros(0, dtype=np.int64)


def choices(pairs: Floats, outcomes: Floats) -> Judgements:
    return Judgements(PLACES, NONE, np.asarray(pairs, dtype=np.int64), np.asarray(outcomes, dtype=float))


def stars(given: Floats) -> Judgements:
    return Judgements(np.arange(len(given)), np.asarray(given, dtype=float), NO_PAIRS, NONE)


def hidden_taste(rng: np.random.Generator, count: int = 200, size: int = 12) -> tuple[Floats, Floats]:
    """Features of unit variance in all, and a utility of SD 1 that is linear in them."""
    features = rng.normal(size=(count, size)) / np.sqrt(size)
    utility = features @ rng.normal(size=size)
    return features, utility / utility.std()


def chosen(utility: Floats, pairs: Floats) -> Judgements:
    return choices(pairs, utility[pairs[:, 0]] > utility[pairs[:, 1]])


# ---------------------------------------------------------------- the fit


def test_stars_alone_are_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    features, given = rng.normal(size=(40, 5)), rng.integers(1, 6, 40).astype(float)
    [weights] = fit(features, stars(given), [2.0])
    scaled, centred = np.sqrt(2) / 1.702 * features, given / given.std()
    middle = scaled.mean(axis=0)
    inner = (scaled - middle).T @ (scaled - middle) + 2.0 * np.eye(5)
    assert weights == pytest.approx(np.linalg.solve(inner, (scaled - middle).T @ (centred - centred.mean())), abs=1e-5)


def test_choices_alone_are_bradley_and_terrys_maximum() -> None:
    """With one indicator a picture and almost no penalty: expected and observed wins agree, which defines that maximum."""
    pairs = np.array([(0, 1)] * 3 + [(1, 0)] + [(1, 2)] * 2 + [(2, 1)] + [(0, 2)] * 2 + [(2, 0)])
    judged = choices(pairs, np.ones(len(pairs)))
    [weights] = fit(np.eye(3), judged, [1e-6])
    expected = sigmoid(weights[pairs[:, 0]] - weights[pairs[:, 1]])
    for picture in range(3):
        won = (pairs[:, 0] == picture).sum()
        hoped = expected[pairs[:, 0] == picture].sum() + (1 - expected)[pairs[:, 1] == picture].sum()
        assert hoped == pytest.approx(won, abs=1e-3)


def test_a_tie_is_half_a_choice_for_each() -> None:
    features = np.array([[1.0], [0.0]])
    once = fit(features, choices(np.array([(0, 1), (0, 1)]), np.array([0.5, 0.5])), [1.0])[0]
    both = fit(features, choices(np.array([(0, 1), (1, 0)]), np.array([1.0, 1.0])), [1.0])[0]
    assert once == pytest.approx(both, abs=1e-9)
    assert once == pytest.approx([0.0], abs=1e-9)


def test_the_order_in_which_a_pair_was_shown_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    features, utility = hidden_taste(rng)
    judged = chosen(utility, rng.permutation(200).reshape(100, 2))
    turned = choices(judged.pairs[:, ::-1], 1 - judged.outcomes)
    assert fit(features, judged, [1.0])[0] == pytest.approx(fit(features, turned, [1.0])[0], abs=1e-6)


def test_rotating_features_changes_no_prediction() -> None:
    rng = np.random.default_rng(2)
    features, utility = hidden_taste(rng, 60, 20)
    judged = chosen(utility, rng.permutation(60).reshape(30, 2))
    turned, back = rotate(features)
    assert turned @ back.T == pytest.approx(features, abs=1e-9)
    assert features @ fit(features, judged, [0.5])[0] == pytest.approx(turned @ fit(turned, judged, [0.5])[0], abs=1e-5)


def test_a_stronger_penalty_makes_a_smaller_taste() -> None:
    rng = np.random.default_rng(3)
    features, utility = hidden_taste(rng)
    sizes = [np.linalg.norm(w) for w in fit(features, chosen(utility, rng.permutation(200).reshape(100, 2)), [10.0, 1.0, 0.1])]
    assert sizes == sorted(sizes)


def test_perfectly_separable_choices_stay_finite() -> None:
    features = np.linspace(-1, 1, 20)[:, None]
    pairs = np.array([(i + 1, i) for i in range(19)])
    assert np.isfinite(fit(features, choices(pairs, np.ones(19)), [1e-6])[0]).all()


# ---------------------------------------------------------------- scaling


def test_a_measure_that_a_picture_lacks_counts_as_the_mean() -> None:
    scaling = Scaling.of([{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 7.0}, {"a": 2.0}], [None] * 3)
    assert scaling({"a": 2.0}, None) == pytest.approx([0.0, 0.0])


def test_a_measure_that_hardly_any_picture_has_or_that_never_moves_is_left_out() -> None:
    measures = [{"usual": float(i), "still": 1.0, **({"rare": float(i)} if i < 2 else {})} for i in range(20)]
    assert Scaling.of(measures, [None] * 20).names == ("usual",)


def test_one_odd_picture_is_cut_off() -> None:
    scaling = Scaling.of([{"a": float(i % 2)} for i in range(20)], [None] * 20)
    assert scaling({"a": 1e9}, None) == pytest.approx([FARTHEST])


def test_the_measures_and_the_embedding_have_the_same_say() -> None:
    rng = np.random.default_rng(4)
    measures = [dict(zip("abc", row, strict=True)) for row in rng.normal(size=(50, 3)).tolist()]
    scaling = Scaling.of(measures, list(rng.normal(size=(50, 8))))
    table = np.array([scaling(one, embedding) for one, embedding in zip(measures, rng.normal(size=(50, 8)), strict=True)])
    assert (table[:, :3] ** 2).sum(axis=1).mean() == pytest.approx(1.0, rel=0.05)
    assert (table[:, 3:] ** 2).sum(axis=1).mean() == pytest.approx(1.0, rel=0.3)


def test_scaling_survives_json() -> None:
    rng = np.random.default_rng(5)
    scaling = Scaling.of([{"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 1.0}], list(rng.normal(size=(2, 4))))
    again = Scaling.from_json(scaling.as_json())
    embedding = rng.normal(size=4)
    assert again({"a": 2.0}, embedding) == pytest.approx(scaling({"a": 2.0}, embedding), abs=1e-5)


# ---------------------------------------------------------------- what is left out


def sparse(rng: np.random.Generator) -> Judgements:
    return choices(rng.permutation(120).reshape(60, 2), np.ones(60))


def dense(rng: np.random.Generator) -> Judgements:
    return choices(np.array([rng.choice(30, 2, replace=False) for _ in range(80)]), np.ones(80))


def rated_too(rng: np.random.Generator) -> Judgements:
    return Judgements(np.arange(40), rng.integers(1, 6, 40).astype(float), rng.permutation(80)[:60].reshape(30, 2), np.ones(30))


@pytest.mark.parametrize("make", [sparse, dense, rated_too])
def test_no_picture_of_a_test_is_in_its_training_and_each_judgement_is_tested_once(make: Callable[..., Judgements]) -> None:
    judged = make(np.random.default_rng(6))
    ends, tested = judged.ends(), np.zeros(len(judged), dtype=int)
    for train, test in splits(judged, GROUPS, np.random.default_rng(7)):
        assert not set(ends[train].ravel()) & set(ends[test].ravel())
        tested += test
    assert (tested == 1).all()


def test_pairs_that_share_no_picture_lose_no_more_than_their_group() -> None:
    sizes = [train.sum() for train, _ in splits(sparse(np.random.default_rng(8)), GROUPS, np.random.default_rng(9))]
    assert min(sizes) >= 60 * 0.85


# ---------------------------------------------------------------- figures


def test_ranks_share_their_mean() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(10)
    a, b = rng.integers(1, 6, 50).astype(float), rng.normal(size=50)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_wilsons_interval() -> None:
    assert wilson(0.81, 100) == pytest.approx((0.7222, 0.8749), abs=1e-4)


def test_pairs_that_share_a_picture_count_for_less() -> None:
    right = np.array([1.0, 1.0, 0.0, 0.0] * 10)
    apart = accuracy_interval(np.arange(80).reshape(40, 2), right)
    tied = accuracy_interval(np.array([(i % 4, 4 + i) for i in range(40)]), right)
    assert apart.low is not None
    assert tied.low is not None
    assert tied.low < apart.low


def test_the_score_is_the_chance_to_win_against_what_was_judged() -> None:
    rng = np.random.default_rng(11)
    others = rng.normal(0.3, 1.5, 200_000)
    assert chance_to_win(1.0, 0.3, 1.5, 0.8) == pytest.approx(sigmoid(0.8 * (1.0 - others)).mean(), abs=0.01)


# ---------------------------------------------------------------- what is learned


def test_a_hundred_choices_of_a_hidden_taste_are_learned_and_the_figure_is_not_flattering() -> None:
    found, true = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        features, utility = hidden_taste(rng, 1200)
        learned = learn(features[:200], chosen(utility, np.arange(200).reshape(100, 2)))
        new = features[200:] @ learned.weights
        pairs = np.arange(200, 1200).reshape(500, 2)
        agreed = (new[pairs[:, 0] - 200] > new[pairs[:, 1] - 200]) == (utility[pairs[:, 0]] > utility[pairs[:, 1]])
        assert learned.learned
        assert learned.accuracy.value is not None
        found.append(learned.accuracy.value)
        true.append(agreed.mean())
    assert min(true) >= 0.8
    assert np.mean(found) == pytest.approx(np.mean(true), abs=0.06)


def test_shuffled_choices_are_about_chance_and_it_says_so() -> None:
    values = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        features, _ = hidden_taste(rng)
        learned = learn(features, choices(np.arange(200).reshape(100, 2), rng.integers(0, 2, 100)))
        assert not learned.learned
        values.append(learned.accuracy.value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_what_learned_nothing_scores_everything_alike() -> None:
    rng = np.random.default_rng(0)
    features, _ = hidden_taste(rng)
    learned = learn(features, choices(np.arange(200).reshape(100, 2), rng.integers(0, 2, 100)))
    scores = [chance_to_win(value, learned.middle, learned.spread, learned.slope) for value in features @ learned.weights]
    assert np.ptp(scores) < 0.35


def test_stars_and_choices_together_are_better_than_either() -> None:
    alone, together = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        features, utility = hidden_taste(rng, 1200)
        rated = np.arange(40)
        given = np.clip(np.round(3 + utility[rated] + 0.5 * rng.normal(size=40)), 1, 5)
        pairs = np.arange(40, 120).reshape(40, 2)
        both = Judgements(rated, given, pairs, (utility[pairs[:, 0]] > utility[pairs[:, 1]]).astype(float))
        for judged, results in (
            (both.take(np.arange(80) < 40), alone),
            (both.take(np.arange(80) >= 40), alone),
            (both, together),
        ):
            weights = fit(features, judged, [0.3])[0]
            results.append(spearman(features[200:] @ weights, utility[200:]))
    assert np.mean(together) > np.max([np.mean(alone[::2]), np.mean(alone[1::2])])


def test_the_learning_curve_rises_to_the_figure_itself() -> None:
    rng = np.random.default_rng(3)
    features, utility = hidden_taste(rng)
    learned = learn(features, chosen(utility, np.arange(200).reshape(100, 2)))
    sizes = [point["judgements"] for point in learned.curve]
    values = [point["pair_accuracy"]["value"] for point in learned.curve]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 90
    assert values[-1] == pytest.approx(learned.accuracy.value, abs=1e-4)
    assert values[-1] > values[0]


def test_the_same_judgements_give_the_same_scorer() -> None:
    rng = np.random.default_rng(12)
    features, utility = hidden_taste(rng)
    judged = chosen(utility, np.arange(200).reshape(100, 2))
    first, second = learn(features, judged), learn(features, judged)
    assert (first.accuracy, first.curve, first.slope) == (second.accuracy, second.curve, second.slope)
    assert np.array_equal(first.weights, second.weights)


@pytest.mark.parametrize(
    "judged",
    [
        choices(np.array([(0, i) for i in range(1, 21)]), np.ones(20)),  # one picture against all others
        choices(np.array([(0, 1)] * 20), np.ones(20)),  # the same pair again and again, by many raters
        stars(np.array([3.0] * 10 + [4.0] * 10)),
        choices(np.arange(40).reshape(20, 2), np.full(20, 0.5)),  # ties alone
    ],
)
def test_odd_sets_of_judgements_give_finite_answers(judged: Judgements) -> None:
    features = np.random.default_rng(13).normal(size=(40, 6))
    learned = learn(features, judged)
    assert np.isfinite([*learned.weights, learned.slope, learned.middle, learned.spread]).all()
    assert not learned.learned
