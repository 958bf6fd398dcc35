"""Which classes pictures are of, by a model of the loader.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from api.loading.classifiers import PictureClassifier
from api.model_loader import ModelLoader

MOST_AT_ONCE = 8
"""Pictures of one forward pass."""
LONGEST_TO_SHORTEST = 4
"""A picture that is longer is read in parts: scaled to the model's square, little of it could be made out."""


def classify(
    loader: ModelLoader, model_id: str, pictures: Sequence[Image.Image], on_progress: Callable[[float, str], None]
) -> list[dict[str, float]]:
    """Of each picture the probability of each class, by the model's names. Raises DarkroomError."""
    entry = loader.catalog.get(model_id)
    loader.load(model_id, on_progress)
    parts = [(place, part) for place, picture in enumerate(pictures) for part in parts_of(picture)]
    found: list[list[float]] = []
    with loader.use(model_id, entry.task) as lease:
        classifier: PictureClassifier = lease.pipeline
        for attempt in loader.retry_on_oom(lease, batch_size=min(len(parts), MOST_AT_ONCE)):
            with attempt:
                found = run_classifier(classifier, [part for _, part in parts], attempt.batch_size, lease.device.torch_device)
        labels = classifier.labels
    return [
        highest(labels, [row for (of, _), row in zip(parts, found, strict=True) if of == place])
        for place in range(len(pictures))
    ]


def highest(labels: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, float]:
    """A picture is what its most telling part is."""
    return {label: max(row[number] for row in rows) for number, label in enumerate(labels)}


def run_classifier(
    classifier: PictureClassifier, pictures: Sequence[Image.Image], batch_size: int, device: Any
) -> list[list[float]]:
    rows: list[list[float]] = []
    for start in range(0, len(pictures), batch_size):
        squares = [square(picture) for picture in pictures[start : start + batch_size]]
        inputs = classifier.processor(images=squares, return_tensors="pt").to(device)
        with torch.inference_mode():
            logits = classifier.model(**inputs).logits.float()
        rows += (logits.softmax(-1) if classifier.is_exclusive else logits.sigmoid()).tolist()
    return rows


def square(picture: Image.Image) -> Image.Image:
    """As high as wide, for the processors that would cut off the sides of one that isn't."""
    short = min(picture.size)
    return picture if picture.width == picture.height else picture.resize((short, short), Image.Resampling.BOX)


def parts_of(picture: Image.Image) -> Iterator[Image.Image]:
    """The picture on white where it is transparent; of a very long one, squares beside each other."""
    if picture.mode != "RGB":
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
        picture = ground
    short, long = sorted(picture.size)
    if long <= LONGEST_TO_SHORTEST * short:
        yield picture
        return
    for start in range(0, long, short):
        start = min(start, long - short)
        is_wide = picture.width == long
        yield picture.crop((start, 0, start + short, short) if is_wide else (0, start, short, start + short))
