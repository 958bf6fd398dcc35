"""Compares an exported model with its original along the original's greedy answers.  [torch]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from api.chat.backends.onnx_backend import OnnxSequenceBatch
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatRequest, MessagePart, Turn
from api.chat.backends.sequence_groups import TorchSequenceBatch
from api.loading.chat import ChatModel

TOKENS = 16
TEXTS = (
    "What is in this image?",
    "hello",
    "Say in one sentence what you see, and where it is.",
    "How many are there? 1, 2 or 3?",
)


@dataclass
class Comparison:
    """Greedy answers of both. Logits are compared along the original's own answer."""

    answers: int
    same_answers: int
    tokens: int
    same_tokens: int
    largest_difference: float
    """Between two logits."""
    spread: float
    """Standard deviation of the original's logits, to hold the difference against."""

    def __str__(self) -> str:
        return (
            f"{self.same_answers} of {self.answers} greedy answers and {self.same_tokens} of {self.tokens} tokens are the same; "
            f"logits differ by at most {self.largest_difference:.2g} (their spread is {self.spread:.2g})"
        )


def compare(original: ChatModel, exported: ChatModel, requests: Sequence[ChatRequest] = ()) -> Comparison:
    """`requests`: instead of some questions of our own, with and without pictures."""
    found = Comparison(0, 0, 0, 0, 0.0, 0.0)
    for request in requests or default_requests(sees=original.processor is not None):
        mine, theirs = TorchSequenceBatch(), OnnxSequenceBatch()
        inputs = encode(original, request).inputs
        logits = mine.add(original.model, inputs, 1), theirs.add(exported.model, inputs, 1)
        same = 0
        for place in range(TOKENS):
            found.largest_difference = max(found.largest_difference, float((logits[0] - logits[1]).abs().max()))
            found.spread = max(found.spread, float(logits[0].std()))
            token = int(logits[0].argmax())
            same += token == int(logits[1].argmax())
            if place < TOKENS - 1:
                [one], [other] = mine.step(original.model, [token]), theirs.step(exported.model, [token])
                assert one is not None
                assert other is not None
                logits = one, other
        found.answers, found.same_answers = found.answers + 1, found.same_answers + (same == TOKENS)
        found.tokens, found.same_tokens = found.tokens + TOKENS, found.same_tokens + same
    return found


def default_requests(*, sees: bool) -> list[ChatRequest]:
    return [
        ChatRequest(model_id="", turns=(Turn("user", (*(pictures(count) if sees else ()), MessagePart(text=text))),))
        for count, text in enumerate(TEXTS)
    ]


def pictures(count: int) -> list[MessagePart]:
    """Noise and planes, the same each time."""
    noise = torch.randint(0, 256, (96, 128, 3), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)
    images = [Image.fromarray(noise.numpy()), Image.new("RGB", (200, 120), (200, 40, 30)), Image.new("RGB", (64, 64), "white")]
    return [MessagePart(image=image) for image in images[:count]]
