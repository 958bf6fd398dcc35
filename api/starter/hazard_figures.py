"""The figures of starter-hazards on drawings that training never used, decided as the server decides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from api.starter.world.road import CELLS, CLASSES, render_road, sample_road, targets_of
from api.vision.backends.hazards.decisions import decide, prepare

OUTPUTS = len(CLASSES) + 1
SIZE = 224
THRESHOLD = 0.5
Run = Callable[[np.ndarray], np.ndarray]
"""(1, 3, 224, 224) float32 of 0..1 to (1, cells × outputs) logits."""


@dataclass(frozen=True)
class Answers:
    """Of some drawings: the logits (pictures, cells, outputs), and which class is there (pictures, cells, classes)."""

    logits: np.ndarray
    there: np.ndarray

    def figures(self, threshold: float = THRESHOLD) -> "Figures":
        scores = 1 / (1 + np.exp(-self.logits.reshape(-1, OUTPUTS)))
        return Figures(self.there, decide(scores, threshold)[:, :-1].reshape(self.there.shape))


@dataclass(frozen=True)
class Figures:
    """(pictures, cells, classes) bool: what was there, and what was answered."""

    there: np.ndarray
    answered: np.ndarray

    @property
    def by_class(self) -> dict[str, "Score"]:
        return {name: score_of(self.there[..., place], self.answered[..., place]) for place, name in enumerate(CLASSES)}

    @property
    def cells(self) -> "Score":
        """Over all cells and classes together."""
        return score_of(self.there, self.answered)

    @property
    def risk(self) -> "Score":
        """Of "some hazard is in this cell", whichever."""
        return score_of(np.any(self.there, axis=-1), np.any(self.answered, axis=-1))

    @property
    def summary(self) -> str:
        classes = ", ".join(f"{name} {score.f1:.2f}" for name, score in self.by_class.items())
        return f"F1 {self.cells.f1:.3f}, risk recall {self.risk.recall:.3f} precision {self.risk.precision:.3f}; {classes}"


@dataclass(frozen=True)
class Score:
    right: int
    there: int
    answered: int

    @property
    def recall(self) -> float:
        return self.right / max(self.there, 1)

    @property
    def precision(self) -> float:
        return self.right / max(self.answered, 1)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(self.there + self.answered, 1)


def score_of(there: np.ndarray, answered: np.ndarray) -> Score:
    return Score(int((there & answered).sum()), int(there.sum()), int(answered.sum()))


def drawings(count: int, seed: int) -> Iterator[tuple[Image.Image, np.ndarray]]:
    """At their full size, each with what is there: (cells, classes)."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        pixels, labels = render_road(sample_road(rng), int(rng.integers(2**31)))
        yield Image.fromarray(pixels), targets_of(labels)[:, :-1] > 0


def ask(run: Run, count: int, seed: int) -> Answers:
    """What a network answers to `count` drawings."""
    logits, there = [], []
    for picture, truth in drawings(count, seed):
        logits.append(run(prepare(picture, SIZE, SIZE)[None]).reshape(len(CELLS), OUTPUTS))
        there.append(truth)
    return Answers(np.stack(logits), np.stack(there))
