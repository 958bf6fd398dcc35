"""The figures of starter-detector, through its ONNX file and the server's own backend, and its card."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from api.starter.architecture import WEIGHTS
from api.starter.best_of_figures import Find, Sampled, compare, samples
from api.starter.cards import renew_card
from api.starter.detector.average_precision import Boxes, mean_average_precision
from api.starter.detector.drawings import Drawing, for_evaluation
from api.starter.training.data import EVALUATION_SEED
from api.starter.training.judge import load_judge, see
from api.starter.training.run import log, to_tensor
from api.starter.world.labels import NAMES
from api.starter.world.scene import ONE_OF
from api.vision.asked_objects import asked_objects
from api.vision.detection import DetectionRequest, Found

FOLDER = WEIGHTS / "starter-detector"
LEAST_SCORE, MOST_OVERLAP, FOUND = 0.01, 0.6, 0.25
"""Precision is averaged over all detections from the first on; the last is what a request has by default."""
SAMPLE_PICTURES = 200
SEED = EVALUATION_SEED + 12


def boxes_of(found: Sequence[Found]) -> Boxes:
    corners = np.array([(one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax) for one in found]).reshape(-1, 4)
    return Boxes(np.array([one.class_id for one in found], int), corners, np.array([one.score for one in found]))


def on_drawings(find: Find, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """mAP, and the processor's time of one picture alone, letterbox and all."""
    found, seconds = [], []
    for drawing in drawings:
        request = DetectionRequest(Image.fromarray(drawing.pixels), threshold=LEAST_SCORE, iou=MOST_OVERLAP, max_detections=300)
        start = time.process_time()
        found += [boxes_of(result) for result in find([request])]
        seconds.append(time.process_time() - start)
    truth = [Boxes(drawing.classes, drawing.boxes, np.ones(len(drawing.classes))) for drawing in drawings]
    at_50, at_75 = (mean_average_precision(found, truth, NAMES, iou) for iou in (0.5, 0.75))
    return {
        "drawings": len(drawings),
        "boxes": sum(len(drawing.classes) for drawing in drawings),
        "map50": float(np.mean(list(at_50.values()))),
        "map75": float(np.mean(list(at_75.values()))),
        "by_class": {name: [at_50[name], at_75[name]] for name in sorted(at_75, key=lambda name: at_75[name])},
        "cpu_ms": 1000 * float(np.median(seconds)),
    }


def on_samples(find: Find, sampled: Sequence[Sampled]) -> dict[str, Any]:
    """The first picture of each prompt: of what it asks for how much is found, and what is found beside that.

    `shown`: the same of those things alone that the judge network sees, since `starter` does not draw all that it is asked for.
    `unseen`: of what was found unasked how much the judge network sees neither.
    """
    judge = load_judge()
    counts: Counter[str] = Counter()
    for one in sampled:
        [(_, things)] = see(judge, to_tensor(list(one.pictures[:1])))
        shown = {ONE_OF.get(thing, thing) for thing, is_there in things.items() if is_there}
        asked = {thing.label for thing in asked_objects(one.case.prompt, NAMES).things}
        [result] = find([DetectionRequest(Image.fromarray(one.pictures[0]), threshold=FOUND)])
        found = {each.label for each in result}
        counts.update(
            pictures=1,
            asked=len(asked),
            found=len(asked & found),
            shown=len(asked & shown),
            found_of_shown=len(asked & shown & found),
            unasked=len(found - asked),
            unseen=len(found - asked - shown),
        )
    return dict(counts)


def evaluate(find: Find, folder: Path, drawings: int, prompts: int) -> dict[str, Any]:
    """All figures, written into the weights' folder and its card. `folder` holds the pictures of `starter`."""
    figures: dict[str, Any] = {"on_drawings": on_drawings(find, list(for_evaluation(drawings, SEED)))}
    log(f"on drawings: {figures['on_drawings']}")
    sampled = list(samples(folder, prompts))
    figures["on_samples"] = on_samples(find, sampled[:SAMPLE_PICTURES])
    log(f"on pictures of starter: {figures['on_samples']}")
    figures["best_of_five"] = compare(find, sampled)
    log(f"best of five: {figures['best_of_five']}")
    (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1))
    renew_card(FOLDER / "README.md", card_rows(figures))
    return figures


def card_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    drawn, made, best = figures["on_drawings"], figures["on_samples"], figures["best_of_five"]
    worst = ", ".join(f"{name} {at_50:.2f} / {at_75:.2f}" for name, (at_50, at_75) in list(drawn["by_class"].items())[:5])
    ways = ", ".join(f"{name} {percent(best[name])}" for name in ("one", "clip", "objects", "both"))
    ways += f"; one of the five is right in {percent(best['possible'])}"
    gain, low, high = (f"{100 * value:+.1f}" for value in best["gain"])
    return [
        (
            f"{drawn['drawings']:,} unseen drawings, {drawn['boxes']:,} boxes: mAP50 / mAP75",
            f"{drawn['map50']:.3f} / {drawn['map75']:.3f}",
        ),
        ("its weakest classes: AP50 / AP75", worst),
        ("one picture, letterbox and all, one thread", f"{drawn['cpu_ms']:.1f} ms of CPU"),
        (
            f"{made['pictures']} pictures that `starter` made: of {made['asked']} things asked for, found",
            percent(made["found"] / made["asked"]),
        ),
        (f"of the {made['shown']} of them that the judge network sees", percent(made["found_of_shown"] / made["shown"])),
        (
            "things found there that were not asked for; of these not seen by the judge network",
            f"{made['unasked']}; {made['unseen']}",
        ),
        (f"{best['prompts']} held-out prompts, all facts right: one picture; best of 5 by clip, by objects, by both", ways),
        (
            "both against clip alone: points, 95 % interval by bootstrap; prompts won / lost; McNemar's exact p",
            f"{gain} ({low} to {high}); {best['won']} / {best['lost']}; {best['p']:.2g}",
        ),
    ]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
