"""Best of five by starter-clip, by what starter-detector finds, and by both: how often all that was asked for is right.

The judge network decides what is right; it is independent of both. The samples are those of `evaluation.best_of_five`: they are
kept in a folder, one file for each prompt, so that a stopped run goes on.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.starter.evaluation import SEED, PromptCase, Studio, scene_prompts
from api.starter.training.judge import see
from api.starter.training.run import log, to_pictures

SAMPLES = 5


@dataclass(frozen=True)
class Sampled:
    """Five pictures of a prompt, (5, 128, 128, 3) uint8; whether the judge finds all that was asked for; clip's cosines."""

    case: PromptCase
    pictures: np.ndarray
    right: np.ndarray
    cosines: np.ndarray


def samples(folder: Path, count: int) -> Iterator[Sampled]:
    """Of the first `count` held-out prompts; what is not in the folder is made."""
    studio: Studio | None = None
    folder.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(scene_prompts(count)):
        path = folder / f"{index:04}.npz"
        if not path.exists():
            studio = studio or Studio()
            _make(studio, case, index, path)
            log(f"best of {SAMPLES}: {index + 1} of {count} prompts")
        with np.load(path) as kept:
            yield Sampled(case, kept["pictures"], kept["right"], kept["cosines"])


def _make(studio: Studio, case: PromptCase, index: int, path: Path) -> None:
    pictures = studio.draw([case.prompt] * SAMPLES, [SEED + SAMPLES * index + i for i in range(SAMPLES)])
    right = np.array([all(case.facts_found(seen)) for seen in see(studio.judge, pictures)])
    cosines = studio.similarity([case.prompt], pictures)[0].numpy()
    part = path.with_suffix(".part.npz")
    np.savez(part, pictures=to_pictures(pictures), right=right, cosines=cosines)
    os.replace(part, path)
