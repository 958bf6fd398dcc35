"""Which token comes next: reference values worked out by hand or by the formula's own words."""

import math

import pytest
import torch
from scipy.stats import chisquare
from transformers import RepetitionPenaltyLogitsProcessor

from api.chat.backends.request import Sampling
from api.chat.backends.sampling import REPETITIONS, Sampler, is_repeating, nucleus

LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def draws(count: int, seed: int = 0, logits: torch.Tensor = LOGITS, **options: float) -> list[int]:
    sampler = Sampler(Sampling(**options), seed)  # type: ignore[arg-type]
    return [sampler.sample(logits).token for _ in range(count)]


def test_temperature_0_takes_the_likeliest_token() -> None:
    assert draws(20, temperature=0.0) == [0] * 20


def test_temperature_1_draws_by_the_models_own_probabilities() -> None:
    drawn = draws(4000, temperature=1.0)
    counts = [drawn.count(token) for token in range(4)]
    assert chisquare(counts, [2000, 1200, 600, 200]).pvalue > 0.001


def test_temperature_2_draws_by_their_square_roots() -> None:
    drawn = draws(4000, temperature=2.0)
    roots = [math.sqrt(p) for p in (0.5, 0.3, 0.15, 0.05)]
    assert chisquare([drawn.count(token) for token in range(4)], [4000 * root / sum(roots) for root in roots]).pvalue > 0.001


def test_one_seed_gives_the_same_tokens_each_time_and_another_gives_others() -> None:
    assert draws(50, seed=7, temperature=1.0) == draws(50, seed=7, temperature=1.0)
    assert draws(50, seed=7, temperature=1.0) != draws(50, seed=8, temperature=1.0)


def test_top_k_leaves_so_many_tokens() -> None:
    assert set(draws(500, temperature=2.0, top_k=2)) == {0, 1}


@pytest.mark.parametrize(("top_p", "left"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (0.99, 4)])
def test_top_p_leaves_the_fewest_tokens_that_hold_so_much(top_p: float, left: int) -> None:
    probabilities, tokens = nucleus(torch.tensor([0.05, 0.5, 0.15, 0.3]), top_p)
    assert tokens.tolist() == [1, 3, 2, 0][:left]
    assert probabilities.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05][:left])


def test_top_p_of_a_flat_vocabulary_looks_further_than_its_first_thousand_tokens() -> None:
    _probabilities, tokens = nucleus(torch.full((50_000,), 1 / 50_000), 0.5)
    assert len(tokens) == pytest.approx(25_000, abs=50)


def test_a_bias_is_added_to_the_logit() -> None:
    drawn = draws(4000, temperature=1.0, logit_bias={"3": math.log(10), "0": -100.0})  # type: ignore[arg-type]
    assert chisquare([drawn.count(token) for token in (1, 2, 3)], [4000 * p / 0.95 for p in (0.3, 0.15, 0.5)]).pvalue > 0.001
    assert 0 not in drawn


def test_penalties_are_openais_formula() -> None:
    """logit -= count · frequency_penalty + (count > 0) · presence_penalty"""
    sampler = Sampler(Sampling(temperature=0.0, frequency_penalty=0.2, presence_penalty=0.1), 0)
    sampler.counts.update([0, 0, 2])
    shaped = sampler._apply_penalties(torch.zeros(4))
    assert shaped.tolist() == pytest.approx([-0.5, 0.0, -0.3, 0.0])


def test_a_penalty_counts_what_was_sampled_and_so_moves_on() -> None:
    assert draws(4, temperature=0.0, presence_penalty=2.0) == [0, 1, 2, 0]


def test_log_probabilities_are_the_models_own_whatever_is_drawn_by() -> None:
    sampler = Sampler(Sampling(temperature=0.0, presence_penalty=2.0, logprobs=True, top_logprobs=2), 0)
    picked = [sampler.sample(LOGITS) for _ in range(2)][1]
    assert (picked.token, picked.logprob) == (1, pytest.approx(math.log(0.3)))
    assert [token for token, _ in picked.top] == [0, 1]
    assert [logprob for _, logprob in picked.top] == pytest.approx([math.log(0.5), math.log(0.3)])


def test_a_token_that_stands_for_a_picture_is_never_drawn() -> None:
    sampler = Sampler(Sampling(temperature=0.0), 0, banned_token_ids=(0,))
    assert sampler.sample(LOGITS).token == 1


class OpenString:
    """Inside a JSON string over the tokens a, b, '"', end: everything but the end may come."""

    complete = False

    def allowed(self, size: int) -> torch.Tensor:
        return torch.tensor([True, True, True, False])

    def closing_quotes(self, size: int) -> torch.Tensor:
        return torch.tensor([False, False, True, False])

    reserve = 0

    def closing(self, allowed: torch.Tensor) -> torch.Tensor:
        return allowed

    def accept(self, token: int) -> None: ...


A, B, QUOTE, END = range(4)


def test_a_model_that_would_end_inside_a_string_ends_the_string() -> None:
    sampler = Sampler(Sampling(temperature=0.0), 0, grammar=OpenString(), eos_token_ids=frozenset({END}))
    assert sampler.sample(torch.tensor([2.0, 1.0, 0.0, 3.0])).token == QUOTE
    assert sampler.sample(torch.tensor([2.0, 1.0, 0.0, 1.5])).token == A


@pytest.mark.parametrize("piece", [[A], [A, B]])
def test_a_model_that_goes_round_in_a_string_ends_it(piece: list[int]) -> None:
    sampler = Sampler(Sampling(temperature=0.0), 0, grammar=OpenString(), eos_token_ids=frozenset({END}))
    wanted = [torch.nn.functional.one_hot(torch.tensor(token), 4).float() for token in piece * 200]
    picked = [sampler.sample(logits).token for logits in wanted]
    assert picked.index(QUOTE) == len(piece) * REPETITIONS


def test_a_piece_that_comes_a_few_times_is_text() -> None:
    assert not is_repeating([A, B] * (REPETITIONS - 1))
    assert not is_repeating([B] + [A] * (REPETITIONS - 1))


def test_repetition_penalty_counts_the_prompt_and_the_answer() -> None:
    """As transformers' RepetitionPenaltyLogitsProcessor."""
    logits = torch.tensor([2.0, -1.0, 1.5, 1.4])
    expected = RepetitionPenaltyLogitsProcessor(penalty=2.0)(torch.tensor([[0, 1]]), logits[None].clone())[0]
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0), 0, prompt_token_ids=[0, 1])
    assert torch.equal(sampler._apply_penalties(logits.clone()), expected)
    assert [sampler.sample(logits).token for _ in range(3)] == [2, 3, 0]


def test_min_p_leaves_out_what_is_much_less_likely() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = {Sampler(Sampling(temperature=1.0, min_p=0.4), seed).sample(probabilities.log()).token for seed in range(200)}
    assert drawn == {0, 1}
