"""Who can judge pictures: capabilities register from their apps.py, so that others can ask by name without importing them.

A criterion is a name (`clip`), or a prefix and a rest (`custom:NAME`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image

FIGURES = {
    "clip": "clip_cosine",
    "aesthetic": "aesthetic_score",
    "layout": "layout_score",
    "objects": "objects_score",
}
"""The criteria without a prefix, and which of a picture's scores each one ranks by; one with a prefix has a score of its own name."""

Progress = Callable[[float, str], None]
Scores = dict[str, float | str | list[str] | None]
"""Figures by their names, and the names of what they are about, e.g. the model that gave them."""
Warn = Callable[[str, str], None]
"""Called with a prompt, and what is to be said of it."""


class UnknownJudge(LookupError):
    """There is none such, or it can't judge pictures here. The message says which there are."""


class Judge(Protocol):
    """One judge at work, in a worker."""

    criterion: str
    reads_prompts: bool

    def load(self, on_progress: Progress) -> None:
        """Its model into memory, where it isn't there. For the thread that runs models alone. Raises UnknownJudge, DarkroomError."""

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        """The i-th picture, made for the i-th prompt; for any thread, and the database is not asked. Raises DarkroomError, also where
        its model has left memory."""


class JudgeKind(Protocol):
    def settle(self, name: str) -> str:
        """The part of a criterion behind its prefix, with nothing left open. Raises UnknownJudge."""

    def missing(self) -> str:
        """Why this server can't rank by it; '' where it can."""

    def make(self, criterion: str, warn: Warn) -> Judge:
        """Raises UnknownJudge."""


_kinds: dict[str, JudgeKind] = {}


def register(name: str, kind: JudgeKind) -> None:
    """`name`: a criterion of FIGURES, or a prefix."""
    _kinds[name] = kind


def kind_of(criterion: str) -> JudgeKind:
    """Raises UnknownJudge."""
    name, colon, _ = criterion.partition(":")
    if name not in _kinds or bool(colon) == (name in FIGURES):
        raise UnknownJudge(f"There is no '{criterion[:40]}' to rank by.")
    return _kinds[name]


def has_prefix(criterion: str) -> bool:
    """Whether it begins with a prefix that is known here."""
    name, colon, _ = criterion.partition(":")
    return bool(colon) and name in _kinds and name not in FIGURES


def settle(criterion: str) -> str:
    """`custom:NAME` becomes `custom:NAME@VERSION`. Raises UnknownJudge."""
    prefix, _, rest = criterion.partition(":")
    return f"{prefix}:{kind_of(criterion).settle(rest)}"
