"""The figures of starter-hazards on drawings that training never used."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from api.starter.world.road import CELLS, CLASSES, render_road, sample_road, targets_of

OUTPUTS = len(CLASSES) + 1
Answers = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Figures:
    """Counts over (pictures, cells, classes): what was there, and what was answered."""

    there: np.ndarray
    answered: np.ndarray

    @property
    def by_class(self) -> dict[str, float]:
        """F1 of each class."""
        return {name: f1(self.there[..., place], self.answered[..., place]) for place, name in enumerate(CLASSES)}

    @property
    def cell_f1(self) -> float:
        """F1 over all cells and classes together."""
        return f1(self.there, self.answered)

    @property
    def risk(self) -> tuple[float, float]:
        """Recall and precision of "some hazard is in this cell"."""
        there, answered = self.there.any(axis=-1), self.answered.any(axis=-1)
        both = (there & answered).sum()
        return float(both / max(there.sum(), 1)), float(both / max(answered.sum(), 1))

    @property
    def summary(self) -> str:
        recall, precision = self.risk
        classes = ", ".join(f"{name} {value:.2f}" for name, value in self.by_class.items())
        return f"F1 {self.cell_f1:.3f}, risk recall {recall:.3f} precision {precision:.3f}; {classes}"


def f1(there: np.ndarray, answered: np.ndarray) -> float:
    both = (there & answered).sum()
    return float(2 * both / max(there.sum() + answered.sum(), 1))


def decided(logits: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(pictures, cells, classes) bool: what is above the threshold, and where nothing is, the largest of all outputs."""
    scores = 1 / (1 + np.exp(-logits))
    above = scores > threshold
    none = ~above.any(axis=-1)
    above[none, scores[none].argmax(axis=-1)] = True
    return above[..., :-1]


@torch.inference_mode()
def measure(network: Answers, count: int, seed: int) -> Figures:
    """On `count` drawings at their full size."""
    rng = np.random.default_rng(seed)
    there, answered = [], []
    for _ in range(count):
        pixels, labels = render_road(sample_road(rng), int(rng.integers(2**31)))
        small = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR))
        logits = network(torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255)
        answered.append(decided(logits.float().numpy().reshape(len(CELLS), OUTPUTS)))
        there.append(targets_of(labels)[..., :-1] > 0)
    return Figures(np.stack(there), np.stack(answered))
