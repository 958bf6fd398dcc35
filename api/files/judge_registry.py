"""Who else can judge pictures: capabilities sign up from their apps.py, so that others can ask by name without importing them.

A judge's name has a prefix and a rest, as `custom:NAME`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image

Progress = Callable[[float, str], None]


class UnknownJudge(LookupError):
    """There is none such, or it can't judge pictures here. The message says which there are."""


class PictureJudge(Protocol):
    """One judge at work, in a worker."""

    def load(self, on_progress: Progress) -> None:
        """What it needs into memory; for the thread that runs models alone. Raises UnknownJudge, and the model loader's errors."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a job that is ranked by it must say, once it is loaded."""

    def score(self, pictures: Sequence[Image.Image]) -> list[float]:
        """0-100 each; for any thread, and the database is not asked. Raises the model loader's errors."""


class JudgeKind(Protocol):
    def settle(self, name: str) -> str:
        """`name` without the prefix, with nothing left open. Raises UnknownJudge."""

    def make(self, name: str) -> PictureJudge: ...


_kinds: dict[str, JudgeKind] = {}


def register(prefix: str, kind: JudgeKind) -> None:
    _kinds[prefix] = kind


def is_judge(name: str) -> bool:
    """Whether the name has a prefix that is known here."""
    return ":" in name and name.partition(":")[0] in _kinds


def settle_judge(name: str) -> str:
    prefix, _, rest = name.partition(":")
    return f"{prefix}:{_kinds[prefix].settle(rest)}"


def make_judge(name: str) -> PictureJudge:
    prefix, _, rest = name.partition(":")
    return _kinds[prefix].make(rest)
