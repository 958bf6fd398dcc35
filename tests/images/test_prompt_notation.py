"""AUTOMATIC1111's notation is found where it is, and nowhere else."""

import pytest

from api.images.no_effect import notation_warnings
from api.images.prompt_notation import describe_notation, find_notation


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a (red:1.5) circle", ["(red:1.5)"]),
        ("a (red :1.5 ) circle", ["(red :1.5 )"]),
        ("a (red:2) circle", ["(red:2)"]),
        ("a (red:.5) circle", ["(red:.5)"]),
        ("a (red:-1) circle", ["(red:-1)"]),
        ("a (style5:0.8) circle", ["(style5:0.8)"]),
        ("(a (dark:1.2) lake:1.3)", ["(a (dark:1.2) lake:1.3)"]),
        ("a lake <lora:riso:1>", ["<lora:riso:1>"]),
        ("a lake <LORA:riso:0.5:0.7>", ["<LORA:riso:0.5:0.7>"]),
        ("a lake <hypernet:x:1><lyco:y:1>", ["<hypernet:x:1>", "<lyco:y:1>"]),
        ("a ((red)) circle", ["((red))"]),
        ("a (((red))) circle", ["(((red)))"]),
        ("a [red] circle", ["[red]"]),
        ("a [red:blue:0.5] circle", ["[red:blue:0.5]"]),
        ("a [cat|dog]", ["[cat|dog]"]),
        ("a lake BREAK a boat", ["BREAK"]),
        ("a lake,\nBREAK\na boat", ["BREAK"]),
        ("[dark] ((red)) (blue:1.1)", ["[dark]", "((red))", "(blue:1.1)"]),
    ],
)
def test_it_is_found(prompt: str, found: list[str]) -> None:
    assert find_notation(prompt) == found


@pytest.mark.parametrize(
    "prompt",
    [
        "a (red)++ circle",
        "a (red)1.5 circle",
        "a ((red)++ ball)--",
        "a ((red))++ circle",
        '("a cat","a dog").blend(1,0.5)',
        "(red).swap(blue)",
        "a house (old)",
        "a house (old), a boat (new: just built)",
        "a screen (16:9)",
        "a clock (at 10:30)",
        "a map (scale 1:24000)",
        "John (3:16)",
        r"a circle \(red:1.5\), \[red\], \(\(red\)\)",
        "a smile :) and a frown :(",
        "((•‿•))",
        "a list [1], []",
        "TAKE A BREAK",
        "a sign that says BREAK GLASS IN EMERGENCY",
        "a coffee break",
        "a cat <3, x < y > z",
        "a (cat, a ]dog[",
        "((red) ball)",
        "",
    ],
)
def test_ordinary_words_and_compels_weights_are_left_alone(prompt: str) -> None:
    assert find_notation(prompt) == []


def test_the_sentence_names_the_field_and_what_was_found() -> None:
    said = describe_notation("prompt", "a (red:1.5) lake <lora:riso:1>")
    assert said == (
        "prompt has AUTOMATIC1111's notation, which is read as words here: (red:1.5), <lora:riso:1>. "
        "Adapters are named in `loras`."
    )


def test_the_sentence_stays_short() -> None:
    said = describe_notation("negative_prompt", f"({'very ' * 100}red:1.5) [a] [b] [c] [d]")
    assert said.startswith("negative_prompt has ")
    assert said.endswith("[a], [b] and 2 more.")
    assert len(said) < 200


@pytest.mark.parametrize(
    ("syntax", "prompt", "words"),
    [
        ("compel", f"a circle{'+' * 500}", "circle has the weight 4.97e+20"),
        ("compel", "(a)1e9 b", "1e9 is read as the weight 1 and the word e9"),
        ("compel", "a (hill)30 at night", "hill has the weight 30"),
        ("a1111", "a (hill:-40)", "hill has the weight -40"),
        ("compel", "a (hill)1.5 and a lake++", ""),
        ("a1111", "a (hill:1.5), ((lake))", ""),
        ("plain", f"C{'+' * 500}", ""),
    ],
)
def test_weights_that_make_no_picture_are_told(syntax: str, prompt: str, words: str) -> None:
    said = " ".join(notation_warnings(syntax, prompt, "", composes=True))
    assert words in said if words else said == ""
