"""The figures of starter-nima on held-out posters and pictures, and its card."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from api.loading.nima import Nima
from api.scoring.backends.nima import spread_of, squeeze, to_tensor
from api.starter.training import data
from api.starter.training.nima import (
    POSTER_PAIRS,
    RUINS,
    SCENE_PAIRS,
    SIZE,
    drawn,
    make_network,
    picture_of_something,
    poster_pair,
    ruined,
)
from api.starter.training.run import log
from api.starter.world.posters import FAULTS

SEED = data.EVALUATION_SEED + 40
PAIRS = 150
Figures = dict[str, float]


@torch.inference_mode()
def means_of(model: Nima, pictures: Sequence[Image.Image]) -> np.ndarray:
    return spread_of(model(to_tensor([squeeze(picture, model.size) for picture in pictures])))[0].numpy()


def evaluate_nima(model: Nima, pairs: int = PAIRS) -> Figures:
    """For each fault the share of held-out pairs in which the good one's mean is higher, and the means of both."""
    found: Figures = {}
    for place, fault in enumerate([*FAULTS, *RUINS]):
        rng = np.random.default_rng(SEED + place)
        both = np.array([means_of(model, _pair(rng, fault)) for _ in range(pairs)])
        found |= {fault: float((both[:, 0] > both[:, 1]).mean()), f"{fault} good": float(both[:, 0].mean())}
        found[f"{fault} spoiled"] = float(both[:, 1].mean())
        log(f"{fault}: {100 * found[fault]:.1f} % ({found[f'{fault} good']:.2f} against {found[f'{fault} spoiled']:.2f})")
    return found | {"posters": _mean(found, FAULTS), "pictures": _mean(found, RUINS)}


def _mean(figures: Figures, names: Sequence[str]) -> float:
    return float(np.mean([figures[name] for name in names]))


def _pair(rng: np.random.Generator, fault: str) -> list[Image.Image]:
    if fault in FAULTS:
        return [drawn(poster, 1.0).picture for poster in poster_pair(rng, fault)]
    pixels = picture_of_something(rng)
    return [Image.fromarray(pixels), Image.fromarray(ruined(pixels, fault, float(rng.random()), rng))]


CARD = """# starter-nima: how good a poster or a picture looks

A NIMA (Talebi & Milanfar, arXiv:1709.05424) in the resnet key layout: one basic block a stage, 24 to 112 channels, {size} × {size}
pixels, a 10-way softmax over ratings of 1 to 10. {parameters:,} parameters, fp16 on disk. MIT, like the rest of Darkroom.

No person rated anything: it learnt from posters that Darkroom draws itself (`api/starter/world/posters`), good and spoiled by one
known fault, and from the world's pictures, plain and ruined. What a fault costs was set by hand (`api/starter/training/nima.py`):
the ratings rank faults that were made, and are nobody's taste.

## Training
{steps:,} batches of {batch} pictures, half of them spoiled, in {minutes:.0f} minutes at nice 19 on one of two shared CPU cores; EMD
(r = 2), and a penalty where a pair's means stand too close. `manage.py train_starter nima --minutes {minutes:.0f}` repeats it: same
pictures and order, but the number of steps depends on the machine.

## Figures
{pairs} pairs of each kind, of seeds that training never used, posters at their full size.

| fault | the good one is rated higher | mean of the good | mean of the spoiled |
| --- | --- | --- | --- |
{rows}

All posters: {posters:.1f} %. All pictures: {pictures:.1f} %.

## What it can't do
Photographs, real designs, several faults at once, how a text reads or what a picture is of. It saw only one typeface. Its scale is
its own: compare its means with each other, not with another NIMA's.
"""


def write_card(folder: Path, figures: Figures, *, steps: int, minutes: float) -> None:
    rows = "\n".join(
        f"| {fault} | {100 * figures[fault]:.1f} % | {figures[f'{fault} good']:.2f} | {figures[f'{fault} spoiled']:.2f} |"
        for fault in (*FAULTS, *RUINS)
    )
    text = CARD.format(
        size=SIZE,
        parameters=sum(parameter.numel() for parameter in make_network().parameters()),
        steps=steps,
        batch=2 * (POSTER_PAIRS + SCENE_PAIRS),
        minutes=minutes,
        pairs=PAIRS,
        rows=rows,
        posters=100 * figures["posters"],
        pictures=100 * figures["pictures"],
    )
    (folder / "README.md").write_text(text)
