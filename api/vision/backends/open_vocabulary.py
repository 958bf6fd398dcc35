"""Finds what it is asked for in words, with OWLv2 or Grounding DINO.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from api.errors import DarkroomError
from api.loading.detectors import GROUNDING, TorchDetector
from api.vision.backends.box_selection import select
from api.vision.backends.closed_vocabulary import ALL_SCORES, in_batches, padded, padded_size, run_model
from api.vision.detection import DetectionRequest, Found

Array = NDArray[Any]
Inputs = Mapping[str, Any]
Read = tuple[Array, Array, Array]
"""Boxes (left, top, right, bottom in pixels of the picture), scores, places of the words."""
LARGEST_SIDE = 2048
"""OWL's image processor makes a square of the longer side before it scales it: of 20,000 pixels, gigabytes."""


class Words(Protocol):
    """How one family reads words and answers."""

    def prepare(self, words: Sequence[str], picture: Image.Image) -> Inputs:
        """The network's inputs of one picture. Raises DarkroomError for words that it can't read."""

    def read(self, words: Sequence[str], outputs: Any, row: int, size: tuple[int, int]) -> Read:
        """What it says of the `row`-th picture of a batch, which has this size."""


def detect_open(
    detector: TorchDetector, requests: Sequence[DetectionRequest], batch_size: int, device: Any
) -> list[list[Found] | DarkroomError]:
    """Pictures that are asked for the same words, and whose inputs have one size, go through the network together."""
    words: Words = GroundingWords(detector) if detector.model_type in GROUNDING else OwlWords(detector)
    results: dict[int, list[Found] | DarkroomError] = {}
    prepared: dict[int, Inputs] = {}
    for place, request in enumerate(requests):
        try:
            prepared[place] = words.prepare(request.classes or (), request.picture)
        except DarkroomError as error:
            results[place] = error
    keys = {place: (requests[place].classes, tuple(one["pixel_values"].shape)) for place, one in prepared.items()}
    for places in in_batches(keys, batch_size):
        outputs = run_model(detector.model, [prepared[place] for place in places], device)
        for row, place in enumerate(places):
            request = requests[place]
            asked = request.classes or ()
            boxes, scores, classes = words.read(asked, outputs, row, request.picture.size)
            results[place] = select(request, asked, None, boxes, scores, classes)
    return [results[place] for place in range(len(requests))]


class OwlWords:
    """OWL-ViT and OWLv2: each word is a text of its own."""

    def __init__(self, detector: TorchDetector) -> None:
        self.tokenizer, self.image_processor = detector.processor.tokenizer, detector.processor.image_processor
        self.longest = int(detector.model.config.text_config.max_position_embeddings)

    def prepare(self, words: Sequence[str], picture: Image.Image) -> Inputs:
        tokens = self.tokenizer(list(words), padding="max_length", max_length=self.longest, return_tensors="pt")
        if tokens["input_ids"].shape[1] > self.longest:
            long = next(word for word in words if len(self.tokenizer(word)["input_ids"]) > self.longest)
            raise unreadable(f"classes: '{long[:60]}' is longer than the model reads ({self.longest - 2} tokens).")
        small = picture
        if max(picture.size) > LARGEST_SIDE:
            small = picture.copy()
            small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BICUBIC)
        pixels = self.image_processor(images=small, return_tensors="pt")["pixel_values"]
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"], "pixel_values": pixels}

    def read(self, words: Sequence[str], outputs: Any, row: int, size: tuple[int, int]) -> Read:
        one = type(outputs)(logits=outputs["logits"][row : row + 1], pred_boxes=outputs["pred_boxes"][row : row + 1])
        [found] = self.image_processor.post_process_object_detection(one, threshold=ALL_SCORES, target_sizes=[size[::-1]])
        boxes, scores, classes = (found[name].numpy() for name in ("boxes", "scores", "labels"))
        return boxes.astype(np.float64), scores, classes.astype(np.int64)


class GroundingWords:
    """Grounding DINO: all words are one text, `a cat. a dog.`; a box has a score for each token of it.

    A word's score is its best token's. transformers names a box by its tokens above a second threshold instead, which may be a part of
    a word, or of two.
    """

    def __init__(self, detector: TorchDetector) -> None:
        self.tokenizer, self.image_processor = detector.processor.tokenizer, detector.processor.image_processor
        self.longest = int(detector.model.config.max_text_len)
        self.end = self.tokenizer.convert_tokens_to_ids(".")

    def prepare(self, words: Sequence[str], picture: Image.Image) -> Inputs:
        spans, ids = self.spans_of(words)
        if len(ids) > self.longest:
            raise unreadable(f"classes: these are {len(ids)} tokens long, and the model reads {self.longest}: ask for fewer.")
        for word, (start, end) in zip(words, spans, strict=True):
            if all(token == self.tokenizer.unk_token_id for token in ids[start:end]):
                raise unreadable(f"classes: the model can't read '{word[:60]}', it has none of its words.")
        tokens = torch.tensor([ids])
        inputs = {"input_ids": tokens, "token_type_ids": torch.zeros_like(tokens), "attention_mask": torch.ones_like(tokens)}
        return {**inputs, **self.image_processor(images=padded(picture), return_tensors="pt")}

    def spans_of(self, words: Sequence[str]) -> tuple[list[tuple[int, int]], list[int]]:
        """Where each word's tokens are, and all tokens. What would end a word within it is left out."""
        ids, spans = [self.tokenizer.cls_token_id], []
        for word in words:
            tokens = self.tokenizer(word.lower().replace(".", " ").replace("?", " "), add_special_tokens=False)["input_ids"]
            spans.append((len(ids), len(ids) + len(tokens)))
            ids += [*tokens, self.end]
        return spans, [*ids, self.tokenizer.sep_token_id]

    def read(self, words: Sequence[str], outputs: Any, row: int, size: tuple[int, int]) -> Read:
        spans, _ = self.spans_of(words)
        by_token = outputs["logits"][row].sigmoid().numpy()
        by_word = np.stack([by_token[:, start:end].max(axis=1) for start, end in spans], axis=1)
        classes = by_word.argmax(axis=1)
        x, y, width, height = outputs["pred_boxes"][row].double().numpy().T
        corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
        return corners * np.array([*padded_size(size)] * 2), by_word.max(axis=1), classes


def unreadable(detail: str) -> DarkroomError:
    return DarkroomError("unreadable_classes", 400, detail, field="classes")
