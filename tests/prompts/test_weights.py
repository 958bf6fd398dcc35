"""Attention in AUTOMATIC1111's notation (api/images/prompt_syntax/weights.py)."""

import time

import pytest

from api.images.prompt_syntax.weights import Segment, parse_weights
from tests.prompts.generator import make_prompt
from tests.prompts.reference import read


def by_character(segments: list[Segment]) -> list[list[tuple[str, float]]]:
    return [[(character, piece.weight) for piece in segment for character in piece.text] for segment in segments]


def without_ends(segments: list[list[tuple[str, float]]]) -> list[list[tuple[str, float]]]:
    """The whitespace around a BREAK is no part of the prompt."""
    ends = [[place for place, (text, _) in enumerate(segment) if not text.isspace()] for segment in segments]
    return [segment[places[0] : places[-1] + 1] if places else [] for segment, places in zip(segments, ends, strict=True)]


@pytest.mark.parametrize("number", range(200))
def test_weights_are_those_of_an_independent_reading_of_the_rules(number: int) -> None:
    prompt = make_prompt(number)

    ours, theirs = without_ends(by_character(parse_weights(prompt))), without_ends(read(prompt))

    assert ["".join(text for text, _ in segment) for segment in ours] == [
        "".join(text for text, _ in segment) for segment in theirs
    ]
    weights = [[weight for _, weight in segment] for segment in theirs]
    assert [[weight for _, weight in segment] for segment in ours] == [pytest.approx(one, rel=1e-9) for one in weights]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("(a:1.2)", [("a", 1.2)]),
        ("((a))", [("a", 1.21)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("(a [b] c:1.5)", [("a ", 1.5), ("b", 1.5 / 1.1), (" c", 1.5)]),
        (r"\(a\) \\", [("(a) \\", 1.0)]),
        ("(a", [("a", 1.1)]),
        ("a)", [("a)", 1.0)]),
        ("a:1.2)", [("a:1.2)", 1.0)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("", []),
    ],
)
def test_one_segment(prompt: str, wanted: list[tuple[str, float]]) -> None:
    [segment] = parse_weights(prompt)

    assert [piece.text for piece in segment] == [text for text, _ in wanted]
    assert [piece.weight for piece in segment] == pytest.approx([weight for _, weight in wanted])


def test_break_begins_a_segment_also_inside_brackets() -> None:
    assert [[piece.text for piece in segment] for segment in parse_weights("a BREAK (b BREAK c:1.3) BREAKS")] == [
        ["a"],
        ["b"],
        ["c", " BREAKS"],
    ]


def test_neighbours_of_one_weight_are_one_text() -> None:
    [segment] = parse_weights("(re)(d) [(blue)]")

    assert [piece.text for piece in segment] == ["red", " blue"]


@pytest.mark.parametrize(
    "prompt",
    ["(" * 20_000, "(" * 10_000 + "a" + ")" * 10_000, "(a" * 10_000, "[" * 20_000, "]" * 20_000, "(a:1.1" * 3000 + ")" * 3000,
     " " * 20_000, "\\" * 20_001, "BREAK " * 4000, "(a:0)" * 4000],
)  # fmt: skip
def test_no_prompt_takes_long_to_read(prompt: str) -> None:
    started = time.process_time()

    parse_weights(prompt)

    assert time.process_time() - started < 1
