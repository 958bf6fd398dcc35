"""The card of starter-hazards, with the figures of the shipped file."""

from pathlib import Path

import numpy as np

from api.catalog import ModelEntry
from api.loading.hazard_cells import FILE, read_cells
from api.loading.hazards import load_onnx
from api.starter.hazard_figures import Figures, Score, ask
from api.starter.training import data
from api.starter.world.road import CELLS, CLASSES

DRAWINGS, SEED = 1000, data.EVALUATION_SEED + 62


def evaluate_hazards(folder: Path) -> Figures:
    """Of the ONNX file, on drawings that neither training nor its thresholds saw."""
    entry = ModelEntry(id="starter-hazards", name="starter-hazards", task="hazard-cells", path=folder)
    model = load_onnx(entry, folder / "model.onnx", read_cells(folder / FILE))
    return ask(lambda pictures: model.run(np.ascontiguousarray(pictures)), DRAWINGS, SEED).figures()


CARD = """# starter-hazards: what is in the way

A small convolutional network that says for each of {cells} cells of a picture of the road ahead which of {classes} hazards are in it
(YOLIC's idea: Su et al., arXiv:2307.06689). ONNX, {parameters:,} parameters, 224 × 224 pixels of 0..1; `cells.json` has the cells and
the classes: {names}; a cell's last output is "normal". MIT, like the rest of Darkroom.

It learnt from roads that Darkroom draws itself (`api/starter/world/road`): streets, pavements and paths by day, at dusk and at night,
with up to six hazards, and with shadows, puddles, manhole covers and stains that are none. A hazard is in a cell where it covers 8 %
of it. **It has never seen a photograph, and is no safety device.**

Unlike YOLIC's MobileNetV2, whose last layer makes all cells' outputs of one vector, all cells share their weights here: each cell's
outputs come from the means of two feature maps within it. A given hazard is in a given cell in one drawing of thirty, too few for a
dense layer to learn each by itself: on the same convolutions and the same 400 batches it had F1 0.21 (five of the eight classes below
0.03), and this network 0.71.

## Training
{steps:,} batches of {batch} pictures (half of them mirrored) in {minutes:.0f} minutes at nice 19 on two cores shared with much else;
binary cross-entropy of the cells, hazards weighted 2, and of what covers each place of the finer map. Then each class's threshold was
set on {balanced:,} other drawings. `manage.py train_starter starter-hazards --minutes {minutes:.0f}` repeats it: same pictures and
order, but the number of steps depends on the machine.

## Figures
{drawings:,} drawings at their full size, of seeds that neither training nor the thresholds used; the shipped file, decided as the
server does.

| | cells that have it | recall | precision | F1 |
| --- | --- | --- | --- | --- |
{rows}

## What it can't do
Photographs; what it was not drawn (animals, glass, deep water); hazards that cover less than 8 % of a cell, which are far or thin.
Where two hazards overlap it often names the nearer one alone.
"""


def write_hazard_card(
    folder: Path, figures: Figures, *, parameters: int, steps: int, minutes: float, batch: int, balanced: int
) -> None:
    named = {"any hazard (risk)": figures.risk, "all classes together": figures.cells, **figures.by_class}
    text = CARD.format(
        cells=len(CELLS),
        classes=len(CLASSES),
        names=", ".join(CLASSES),
        parameters=parameters,
        steps=steps,
        batch=batch,
        minutes=minutes,
        balanced=balanced,
        drawings=DRAWINGS,
        rows="\n".join(row(name, score) for name, score in named.items()),
    )
    (folder / "README.md").write_text(text)


def row(name: str, score: Score) -> str:
    return f"| {name} | {score.there:,} | {score.recall:.3f} | {score.precision:.3f} | {score.f1:.3f} |"
