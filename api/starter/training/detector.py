"""starter-detector: what is where in a picture of the drawn world, traffic signs included."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from api.starter.detector.average_precision import Boxes, mean_average_precision
from api.starter.detector.drawings import Drawing, for_evaluation, training_pool
from api.starter.detector.export import export_onnx
from api.starter.detector.losses import detector_loss
from api.starter.detector.network import Detector, Exported
from api.starter.training.judge import worn
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    save_grid,
    to_tensor,
)
from api.starter.world.labels import NAMES
from api.vision.boxes import Box
from api.vision.overlays import Annotation, draw_annotations

BATCH, PEAK, DECAY = 16, 2e-3, 0.998
UNSEEN = 150
LEAST_SCORE, MOST_OVERLAP, SHOWN_SCORE = 0.01, 0.6, 0.25


def as_batch(drawings: Sequence[Drawing]) -> torch.Tensor:
    """(N, 3, 256, 256) in 0..1."""
    return (to_tensor([drawing.pixels for drawing in drawings]) + 1) / 2


@torch.no_grad()
def detect(model: Exported, drawings: Sequence[Drawing], least: float = LEAST_SCORE) -> list[Boxes]:
    return [boxes_in(output, least) for output in model(as_batch(drawings)).numpy()]


def boxes_in(output: np.ndarray, least: float = LEAST_SCORE) -> Boxes:
    """From (4 + classes, cells): for each cell its likeliest class, and of boxes of a class that overlap the surest."""
    classes, scores = output[4:].argmax(axis=0), output[4:].max(axis=0)
    corners = np.concatenate([output[:2] - output[2:4] / 2, output[:2] + output[2:4] / 2]).T
    sizes = np.concatenate([corners[:, :2], output[2:4].T], axis=1)
    chosen = cv2.dnn.NMSBoxesBatched(sizes.tolist(), scores.tolist(), classes.tolist(), least, MOST_OVERLAP)
    kept = np.asarray(chosen, int).reshape(-1)
    return Boxes(classes[kept], corners[kept], scores[kept])


def truth_of(drawings: Sequence[Drawing]) -> list[Boxes]:
    return [Boxes(drawing.classes, drawing.boxes, np.ones(len(drawing.classes))) for drawing in drawings]


def save_detections(path: Path, drawings: Sequence[Drawing], found: Sequence[Boxes]) -> None:
    """The pictures with what was found in them at a score of 0.25 or more."""
    shown = []
    for drawing, boxes in zip(drawings, found, strict=True):
        annotations = [
            Annotation.of_box(Box(*map(float, corners)), NAMES[number], float(score))
            for number, corners, score in zip(boxes.classes, boxes.corners, boxes.scores, strict=True)
            if score >= SHOWN_SCORE
        ]
        shown.append(np.asarray(draw_annotations(Image.fromarray(drawing.pixels), annotations)))
    save_grid(shown, path, 6)


def trainer_of(detector: Detector) -> Trainer:
    decayed = [p for p in detector.parameters() if p.dim() > 1]
    others = [p for p in detector.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    average = Average([detector], DECAY, statistics=True)
    return Trainer({"model": detector}, torch.optim.AdamW(groups, PEAK, fused=True), average)


def train_detector(checkpoints: Path, minutes: float, device: torch.device) -> Detector:
    """Train for `minutes` in all, from the checkpoint if there is one; its file is then in starter-detector/ beside that."""
    torch.manual_seed(6)
    detector, path = Detector().to(memory_format=torch.channels_last), checkpoints / "starter-detector.pt"  # type: ignore[call-overload]  # torch's stubs leave it out
    trainer = trainer_of(detector)
    trainer.resume(path)
    pool, rng = training_pool(600_000 + trainer.step), np.random.default_rng(600_000 + trainer.step)
    unseen = list(for_evaluation(UNSEEN))
    budget, keep_is_due, log_is_due = Budget(minutes, trainer.spent), every(240), every(30)

    def keep() -> None:
        trainer.average.swap()
        detector.eval()
        found = detect(Exported(detector), unseen)
        at_50, at_75 = (mean_average_precision(found, truth_of(unseen), NAMES, iou) for iou in (0.5, 0.75))
        worst = ", ".join(f"{name} {at_50[name]:.2f}/{at_75[name]:.2f}" for name in sorted(at_75, key=lambda n: at_75[n])[:6])
        means = " ".join(f"{np.mean(list(values.values())):.3f}" for values in (at_50, at_75))
        log(f"starter-detector step {trainer.step} {budget.spent:.1f} min mAP50 mAP75 {means} worst: {worst}")
        save_detections(checkpoints / "starter-detector.png", unseen[:24], found[:24])
        detector.train()
        trainer.average.swap()
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        drawings = [pool.take() for _ in range(BATCH)]
        pictures = as_batch(drawings)
        pictures[: BATCH // 2] = (worn(pictures[: BATCH // 2] * 2 - 1, rng) + 1) / 2
        with autocast(device):
            output = detector(pictures.contiguous(memory_format=torch.channels_last))
        loss = detector_loss(output.float(), drawings)
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.2), clip=10.0)
        trainer.average.update()
        if log_is_due():
            log(f"starter-detector step {trainer.step} {budget.spent:.1f} of {minutes:.0f} min loss {loss.item():.3f}")
        if keep_is_due():
            keep()
    keep()
    trainer.average.swap()
    export_onnx(detector.eval(), checkpoints / "starter-detector" / "model.onnx")
    return detector
