"""The figures of starter-cutout, by the shipped file and with edges refined as the server does it; and its card."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from api.starter.architecture import WEIGHTS
from api.starter.cutout.drawings import Drawing, for_evaluation
from api.vision.cutout.edges import alpha_of

DRAWINGS, SEED = 500, 72
FOLDER, MODEL = "starter-cutout", "model.onnx"


@dataclass(frozen=True)
class CutoutFigures:
    """`overlap`: the mean over pictures with a subject of intersection over union; `error`: the mean difference of alpha, of 1."""

    drawings: int
    with_subject: int
    overlap: float
    found: float
    """The share of them whose overlap is 0.8 or more."""
    error: float
    empty: float
    """Of pictures without a subject, the share of those of which less than 1 % was cut out."""


def overlap_of(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Of what is more than half covered, (height, width) of 0..1."""
    both, either = (alpha > 0.5) & (truth > 0.5), (alpha > 0.5) | (truth > 0.5)
    return float(both.sum() / max(either.sum(), 1))


def measure_cutout(drawings: Iterable[Drawing], file: Path) -> CutoutFigures:
    from api.catalog import ModelEntry
    from api.loading.segmenters import load_onnx
    from api.vision.backends.cutout.onnx_masks import find_mask

    model = load_onnx(ModelEntry(id=FOLDER, name=FOLDER, path=file.parent), file)
    overlaps, errors, empty = [], [], []
    for drawing in drawings:
        picture = Image.fromarray(drawing.pixels)
        alpha = np.asarray(alpha_of(find_mask(model, picture), picture, refine=True), np.float32) / 255
        errors.append(float(np.abs(alpha - drawing.alpha).mean()))
        if drawing.has_subject:
            overlaps.append(overlap_of(alpha, drawing.alpha))
        else:
            empty.append(float(alpha.mean()) < 0.01)
    shares = np.array(overlaps)
    return CutoutFigures(
        drawings=len(errors),
        with_subject=len(overlaps),
        overlap=round(float(shares.mean()), 4),
        found=round(float((shares >= 0.8).mean()), 4),
        error=round(float(np.mean(errors)), 5),
        empty=round(float(np.mean(empty)), 4),
    )


def evaluate_cutout(weights: Path = WEIGHTS) -> CutoutFigures:
    """On drawings of seeds that training never uses."""
    return measure_cutout(for_evaluation(DRAWINGS, SEED), weights / FOLDER / MODEL)


CARD = """---
license: mit
pipeline_tag: image-segmentation
---

# starter-cutout

Where the subject of a picture is: things that stand before the ground and the sky of the drawn world (shapes, food, boats, houses, trees,
balloons, birds, traffic signs; not sun, moon, stars and rainbows). One picture in, (N, 3, 256, 256) of 0..1; alpha out,
(N, 1, 256, 256) of 0..1. {parameters:,} parameters, ONNX with weights in fp16.

Trained on pictures that Darkroom draws itself, whose masks are known: {steps:,} steps of {batch} pictures in {minutes:.0f} minutes on one
thread of a shared CPU, half of them blurred, tinted or with noise. `manage.py train_starter starter-cutout --minutes {minutes:.0f}`
repeats it, as far as the machine's speed allows.

## Figures
{drawings:,} drawings with seeds and combinations that training never used, edges refined as the server does it.

| | |
| --- | --- |
| overlap (intersection over union) of {with_subject:,} pictures with a subject, mean | {overlap:.3f} |
| of them with an overlap of 0.8 or more | {found:.1%} |
| error of alpha, mean over all pixels | {error:.4f} |
| of {without:,} pictures without a subject: nothing cut out | {empty:.1%} |

## What it can't do
Photographs: it has never seen one. Use an owner's model for these (U²-Net, IS-Net, BiRefNet in ONNX, Mask2Former, SAM).
"""


def write_cutout_card(folder: Path, figures: CutoutFigures, *, parameters: int, steps: int, minutes: float, batch: int) -> None:
    values = asdict(figures)
    text = CARD.format(
        **values,
        without=figures.drawings - figures.with_subject,
        parameters=parameters,
        steps=steps,
        minutes=minutes,
        batch=batch,
    )
    (folder / "README.md").write_text(text)
    (folder / "figures.json").write_text(json.dumps(values, indent=1) + "\n")
