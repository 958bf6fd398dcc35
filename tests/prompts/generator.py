"""Prompts in AUTOMATIC1111's notation, by chance: well formed and not."""

import random

WORDS = ("red", "cat", "lake", "a", "at sunset", "4k", "very very long", "blue,", "x:y", "ünï", "dog.", "1girl")
MARKS = (
    ")",
    "]",
    "(",
    "[",
    ":1.2)",
    "\\(",
    "\\)",
    "\\[",
    "\\\\",
    "\\",
    ":",
    ": 0.5 )",
    " BREAK ",
    "|",
    ":.7)",
    ":-1)",
    ":0)",
    "BREAKS",
)


def make_prompt(number: int) -> str:
    draw = random.Random(number)
    if draw.random() < 0.3:  # whatever comes
        return " ".join(draw.choice((*WORDS, *MARKS)) for _ in range(draw.randint(1, 25)))
    return " ".join(make_part(draw, 4) for _ in range(draw.randint(1, 6)))


def make_part(draw: random.Random, depth: int) -> str:
    if depth == 0 or draw.random() < 0.3:
        return draw.choice(WORDS)
    inside = " ".join(make_part(draw, depth - 1) for _ in range(draw.randint(1, 3)))
    forms = (
        "({})",
        "[{}]",
        "({}:1.3)",
        "({}:0.25)",
        "({} :  1.05 )",
        "\\({}\\)",
        "{} BREAK",
        "({}",
        "{}]",
        "[({}:1.5)]",
        "({}:2)",
    )
    return draw.choice(forms).format(inside)
