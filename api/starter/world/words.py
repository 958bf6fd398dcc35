"""Small helpers of the grammar."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

PREFIXES = (
    "",
    "",
    "",
    "",
    "",
    "an illustration of ",
    "a picture of ",
    "a flat illustration of ",
    "a painting of ",
    "a drawing of ",
    "an image of ",
)
SUFFIXES = (
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    ", flat illustration",
    ", vector art",
    ", minimalist",
    ", simple shapes",
    ", high quality",
    ", detailed",
    ", beautiful colors",
    ", poster art",
    ", digital art",
)
QUALITY = (
    "blurry",
    "low quality",
    "ugly",
    "bad",
    "worst quality",
    "deformed",
    "noisy",
    "jpeg artifacts",
    "watermark",
    "text",
    "distorted",
    "out of focus",
    "grainy",
    "bad anatomy",
    "cropped",
    "lowres",
)
"""Words of negative prompts. Training ties them to no picture in particular, so that they do no harm."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def another(rng: np.random.Generator, options: Sequence[str], than: str) -> str:
    return pick(rng, [option for option in options if option != than])


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(items: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def dressed(rng: np.random.Generator, text: str) -> str:
    """The caption with an optional 'a picture of' before and a word of style after, now and then capitalised."""
    text = pick(rng, PREFIXES) + text + pick(rng, SUFFIXES)
    return text[0].upper() + text[1:] + "." * int(rng.integers(2)) if rng.random() < 0.3 else text


def meaningless(rng: np.random.Generator) -> str:
    """A caption that says nothing: empty, or some words of quality."""
    if rng.random() < 0.7:
        return ""
    chosen = rng.permutation(QUALITY)[: int(rng.integers(1, 5))]
    return ", ".join(str(word) for word in chosen)


def with_nonsense(rng: np.random.Generator, text: str) -> str:
    """The caption with a made-up word somewhere in it, so that unknown words come to mean nothing."""
    made_up = "".join(pick(rng, "bcdfghjklmnprstvwz") + pick(rng, "aeiou") for _ in range(int(rng.integers(2, 5))))
    words = text.split(" ")
    words.insert(int(rng.integers(len(words) + 1)), made_up)
    return " ".join(words)
