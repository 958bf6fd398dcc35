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
from api.starter.training.from_drawings import DrawingTraining, as_batch
from api.starter.training.run import save_grid
from api.starter.world.labels import NAMES
from api.vision.boxes import Box
from api.vision.overlays import Annotation, draw_annotations

UNSEEN = 150
LEAST_SCORE, MOST_OVERLAP, SHOWN_SCORE = 0.01, 0.6, 0.25


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


def report_on(detector: Detector, unseen: Sequence[Drawing], samples: Path) -> str:
    """mAP at 0.5 and 0.75 over drawings that no training has, and the worst classes; some of them are saved as a picture."""
    found = detect(Exported(detector), unseen)
    at_50, at_75 = (mean_average_precision(found, truth_of(unseen), NAMES, iou) for iou in (0.5, 0.75))
    worst = ", ".join(f"{name} {at_50[name]:.2f}/{at_75[name]:.2f}" for name in sorted(at_75, key=lambda n: at_75[n])[:6])
    means = " ".join(f"{np.mean(list(values.values())):.3f}" for values in (at_50, at_75))
    save_detections(samples, unseen[:24], found[:24])
    return f"mAP50 mAP75 {means} worst: {worst}"


def train_detector(checkpoints: Path, minutes: float, device: torch.device) -> Detector:
    """Train for `minutes` in all, from the checkpoint if there is one; its file is then in starter-detector/ beside that."""
    torch.manual_seed(6)
    detector = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    unseen = list(for_evaluation(UNSEEN))
    DrawingTraining(
        name="starter-detector",
        network=detector,
        checkpoints=checkpoints,
        minutes=minutes,
        device=device,
        pool_at=training_pool,
        first_seed=600_000,
        loss_of=detector_loss,
        report=lambda: report_on(detector, unseen, checkpoints / "starter-detector.png"),
        report_seconds=240,
        decay_from=0.2,
        clip=10.0,
    ).run()
    export_onnx(detector, checkpoints / "starter-detector" / "model.onnx")
    return detector
