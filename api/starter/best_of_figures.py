"""Best of five by starter-clip, by what starter-detector finds, and by both: how often all that was asked for is right.

The judge network decides what is right; it is independent of both. The samples are those of `evaluation.best_of_five`: they are
kept in a folder, one file for each prompt, so that a stopped run goes on.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from api.images.ranking import Candidate, RankBy, rank
from api.starter.evaluation import SEED, PromptCase, Studio, interval, scene_prompts
from api.starter.training.judge import see
from api.starter.training.run import log, to_pictures
from api.starter.world.labels import NAMES
from api.vision.asked_objects import asked_objects
from api.vision.detection import DetectionRequest, Found
from api.vision.object_judge import LEAST_SCORE, score_objects

SAMPLES = 5
WAYS: dict[str, RankBy] = {"clip": "clip", "objects": "objects", "both": {"clip": 0.5, "objects": 0.5}}
Find = Callable[[Sequence[DetectionRequest]], list[list[Found]]]


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


def compare(find: Find, sampled: Sequence[Sampled]) -> dict[str, Any]:
    """Shares of prompts of which all facts are right, chosen as `rank_by` chooses; `gain`: both criteria less clip alone."""
    right: dict[str, list[float]] = {name: [] for name in ("one", *WAYS)}
    for one in sampled:
        candidates = candidates_of(find, one)
        right["one"].append(float(one.right.mean()))
        for name, rank_by in WAYS.items():
            right[name].append(float(one.right[rank(candidates, rank_by)[0].candidate.seed]))
    differences = [both - clip for both, clip in zip(right["both"], right["clip"], strict=True)]
    won, lost = differences.count(1.0), differences.count(-1.0)
    shares = {name: float(np.mean(values)) for name, values in right.items()}
    possible = float(np.mean([one.right.any() for one in sampled]))
    figures = {"prompts": len(sampled), **shares, "possible": possible, "gain": interval(differences)}
    return {**figures, "won": won, "lost": lost, "p": mcnemar(won, lost)}


def candidates_of(find: Find, one: Sampled) -> list[Candidate]:
    """The place of a picture is its seed."""
    asked = asked_objects(one.case.prompt, NAMES)
    found = find([DetectionRequest(Image.fromarray(picture), threshold=LEAST_SCORE) for picture in one.pictures])
    return [
        Candidate(place, {"clip_cosine": float(cosine), **score_objects(asked, things)})
        for place, (cosine, things) in enumerate(zip(one.cosines, found, strict=True))
    ]


def mcnemar(won: int, lost: int) -> float:
    """The chance that of so many prompts of which one way alone is right at least so many fall to one side (two-sided, exact)."""
    total = won + lost
    tail = sum(math.comb(total, count) for count in range(min(won, lost) + 1)) / 2**total
    return min(1.0, 2 * tail)
