"""Prompts that change with the steps, AND, and what else of the notation is read (api/images/prompt_syntax)."""

import time

import pytest

from api.images.prompt_syntax.networks import take_networks
from api.images.prompt_syntax.reading import count_texts, has_composition, words_of
from api.images.prompt_syntax.schedule import join_compositions, make_schedule, split_compositions
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, detect_syntax


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a [red:blue:0.5] cat", [(5, "a red cat"), (10, "a blue cat")]),
        ("a [red:blue:3] cat", [(3, "a red cat"), (10, "a blue cat")]),
        ("a[ big:0.2] cat", [(2, "a cat"), (10, "a big cat")]),
        ("a[ big::0.2] cat", [(2, "a big cat"), (10, "a cat")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[[a:b:0.2]:c:0.6]", [(2, "a"), (6, "b"), (10, "c")]),
        ("[(a:1.2):[b]:0.5]", [(5, "(a:1.2)"), (10, "[b]")]),
        ("[a:b:c:0.5] [a] [a:b] (a:1.2) a|b", [(10, "[a:b:c:0.5] [a] [a:b] (a:1.2) a|b")]),
        (r"\[a:b:0.5\] [a", [(10, r"\[a:b:0.5\] [a")]),
        ("[a:(b:0.5] c)", [(10, "[a:(b:0.5] c)")]),
        ("[same:same:0.5]", [(10, "same")]),
    ],
)
def test_a_prompt_is_what_it_says_at_each_step(prompt: str, wanted: list[tuple[int, str]]) -> None:
    assert [(stretch.last, stretch.text) for stretch in make_schedule(prompt, 10)] == wanted


def test_alternatives_take_turns() -> None:
    assert [stretch.text for stretch in make_schedule("a [red|(blue:1.2)|] cat", 4)] == [
        "a red cat",
        "a (blue:1.2) cat",
        "a  cat",
        "a red cat",
    ]


@pytest.mark.parametrize(
    "prompt", ["[a|" * 6000 + "]" * 6000, "[a:" * 5000 + ":0.5]" * 5000, "[" * 20_000, "[a|b]" * 4000, "([" * 10_000]
)
def test_no_schedule_takes_long_to_read(prompt: str) -> None:
    started = time.process_time()

    make_schedule(prompt, 150)

    assert time.process_time() - started < 2


def test_compositions_are_joined_without_their_weights() -> None:
    assert join_compositions("a cat :1.2 AND a dog AND a lake :0.5") == ("a cat, a dog, a lake", True)
    assert not has_composition("BAND and ANDES")


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat :1.2 AND a dog AND a lake :0.5", [("a cat", 1.2), ("a dog", 1.0), ("a lake", 0.5)]),
        ("a AND b:-.5", [("a", 1.0), ("b", -0.5)]),
        ("a AND (b:1.2)", [("a", 1.0), ("(b:1.2)", 1.0)]),
        ("a AND [b:c:0.5]", [("a", 1.0), ("[b:c:0.5]", 1.0)]),
        ("a\nAND\nb : 2", [("a", 1.0), ("b", 2.0)]),
        ("a cat :0.5", [("a cat :0.5", 1.0)]),
        ("BAND and ANDES", [("BAND and ANDES", 1.0)]),
    ],
)
def test_what_a_prompt_is_composed_of(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert split_compositions(prompt) == parts


def test_adapters_are_taken_out_of_the_text() -> None:
    text, tags = take_networks("a <lora:My Style:0.8:0.5> cat <lyco:x> <hypernet:y:1> <b:1> <LORA:z:nan>")

    assert text == "a  cat   <b:1> "
    assert [(tag.kind, tag.name) for tag in tags] == [("lora", "My Style"), ("lyco", "x"), ("hypernet", "y"), ("lora", "z")]
    assert [(tag.text, tag.unet) for tag in tags[:2]] == [(0.8, 0.5), (1.0, 1.0)]
    assert [tag.unread for tag in tags] == [[], [], [], []]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a (red:1.5) cat", A1111),
        ("a ((red)) cat", A1111),
        ("a [red:blue:0.5] cat", A1111),
        ("a (red)++ cat", COMPEL),
        ("a (red) cat <lora:x:1>", COMPEL),
        ("a photo (close) at 16:9", COMPEL),
    ],
)
def test_the_syntax_is_seen_by_what_only_one_of_them_has(prompt: str, wanted: str) -> None:
    assert detect_syntax([prompt])[0] == wanted


def test_the_words_are_what_the_prompt_is_at_its_end() -> None:
    assert words_of("a (red:1.5) [cat:dog:5] BREAK lake") == "a red dog lake"


def test_the_texts_of_a_prompt_are_counted() -> None:
    assert (count_texts("a cat", 150), count_texts("[a|b|c]", 150), count_texts("[a|b|c] [d|e]", 150)) == (1, 3, 6)
