"""Chats on onnxruntime: the same decode loop as on PyTorch, with logits from ONNX sessions that the loader owns.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnxruntime import OrtValue

from api.chat.backends.decode import Engine
from api.chat.backends.torch_backend import TorchBackend
from api.loading.onnx import Array, OnnxModel
from api.model_loader import ModelLoader

SAME = 0.2
"""Logits of a row in a batch may differ from those of the row alone by this part of their spread: int8 scales see the whole batch."""


class OnnxBackend(TorchBackend):
    """The chats of one model that are under way. `model_id`: of a variant, such as `starter-vlm@onnx-int8`."""

    name = "onnx"

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        super().__init__(loader, model_id)
        self.engine = Engine(OnnxBatch())

    def close(self) -> None:
        self.engine = Engine(OnnxBatch())


class OnnxRows:
    """Rows that are stepped in one call. Each cache is (rows, heads, width, size); row i has `lengths[i]` tokens in it."""

    def __init__(self, caches: list[OrtValue], length: int, copies: int = 1) -> None:
        self.caches, self.lengths, self.width = caches, [length] * copies, length
        self.padding = "left"
        if copies > 1:
            self.caches = changed(caches, lambda cache: cache.repeat(copies, axis=0))

    def step(self, model: OnnxModel, tokens: Sequence[int]) -> torch.Tensor:
        """(rows, vocabulary) float32, after one token for each row."""
        mask = np.zeros((len(tokens), self.width + 1), np.int64)
        for row, length in enumerate(self.lengths):
            mask[row, : length + 1] = 1
        if self.padding == "left":
            mask = mask[:, ::-1]
        embedded = model.embed({"input_ids": np.array(tokens, np.int64)[:, None]})
        logits, self.caches = model.decode(embedded, mask, np.array(self.lengths)[:, None], self.caches)
        self.lengths, self.width = [length + 1 for length in self.lengths], self.width + 1
        return torch.from_numpy(logits)

    def join(self, other: OnnxRows, padding: str) -> None:
        """The other's rows come behind these. `padding`: the side on which this model's shorter rows are filled up."""
        width = max(self.width, other.width)
        pairs = zip(self.caches, other.caches, strict=True)
        both = [[filled(cache.numpy(), width, padding) for cache in pair] for pair in pairs]
        self.caches = [OrtValue.ortvalue_from_numpy(np.concatenate(pair)) for pair in both]
        self.lengths, self.width, self.padding = self.lengths + other.lengths, width, padding

    def keep(self, rows: list[int]) -> None:
        """Forget the others, and the padding that only they needed."""
        self.lengths = [self.lengths[row] for row in rows]
        spare, self.width = self.width - max(self.lengths), max(self.lengths)
        place = slice(spare, None) if self.padding == "left" else slice(0, self.width)
        self.caches = changed(self.caches, lambda cache: cache[rows, :, place])


def changed(caches: Sequence[OrtValue], change: Callable[[Array], Array]) -> list[OrtValue]:
    return [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(change(cache.numpy()))) for cache in caches]


def filled(cache: Array, width: int, padding: str) -> Array:
    spare = width - cache.shape[2]
    places = (spare, 0) if padding == "left" else (0, spare)
    return np.pad(cache, ((0, 0), (0, 0), places, (0, 0)))


class OnnxBatch:
    """All answers of one model that are under way, as `decode.Engine` wants them."""

    def __init__(self) -> None:
        self.groups: list[OnnxRows] = []

    def add(self, model: OnnxModel, inputs: Mapping[str, torch.Tensor], copies: int) -> torch.Tensor:
        """Read a prompt; its rows come behind all others. (vocabulary,) float32: the logits of what comes first."""
        logits, caches, length = read(model, {name: value.numpy() for name, value in inputs.items()})
        rows = OnnxRows(caches, length, copies)
        if self.groups and (padding := padding_of(model)):
            self.groups[-1].join(rows, padding)
        else:
            self.groups.append(rows)
        return torch.from_numpy(logits[0])

    def step(self, model: OnnxModel, tokens: Sequence[int]) -> torch.Tensor:
        """(rows, vocabulary): one more token for each row, in order."""
        logits, first = [], 0
        for group in self.groups:
            count = len(group.lengths)
            logits.append(group.step(model, tokens[first : first + count]))
            first += count
        return torch.cat(logits)

    def keep(self, rows: list[int]) -> None:
        """Rows that are left, by their old numbers in order."""
        first, groups = 0, []
        for group in self.groups:
            count = len(group.lengths)
            mine = [row - first for row in rows if first <= row < first + count]
            if mine and len(mine) < count:
                group.keep(mine)
            if mine:
                groups.append(group)
            first += count
        self.groups = groups


def read(model: OnnxModel, inputs: Mapping[str, Any]) -> tuple[Array, list[OrtValue], int]:
    """One prompt: the logits of what comes next (1, vocabulary), its caches, and its tokens."""
    length = inputs["input_ids"].shape[1]
    mask = np.ones((1, length), np.int64)
    logits, caches = model.decode(model.embed(inputs), mask, np.arange(length)[None], model.no_caches())
    return logits, caches, length


def padding_of(model: OnnxModel) -> str:
    """Where the rows of this model's batch are padded; "" where they can't share one.

    The graph doesn't tell. A decoder with an ordinary mask takes padding on either side; one with fused attention
    (GroupQueryAttention) counts the mask's ones, and wants a row's tokens at the left; and some take no mask. So both are tried once,
    with two short rows against each of them alone.
    """
    if model.padding is None:
        errors = (
            {side: error_with(model, side) for side in ("left", "right")} if "attention_mask" in model.decoder.types else {}
        )
        best = min(errors, key=lambda side: errors[side], default="")
        model.padding = best if errors.get(best, 1.0) < SAME else ""
    return model.padding


def error_with(model: OnnxModel, padding: str) -> float:
    """The largest difference that sharing a batch makes to logits, as a part of their spread."""
    prompts, tokens = ([1, 2, 3, 4, 5], [6, 7]), [2, 3]

    def rows_of(prompt: list[int]) -> OnnxRows:
        _, caches, length = read(model, {"input_ids": np.array([prompt])})
        return OnnxRows(caches, length)

    alone = torch.cat([rows_of(prompt).step(model, [token]) for prompt, token in zip(prompts, tokens, strict=True)])
    together = rows_of(prompts[0])
    together.join(rows_of(prompts[1]), padding)
    try:
        difference = together.step(model, tokens) - alone
    except Exception:  # some graphs refuse shapes that they were not made for; onnxruntime's errors have no base of their own
        return float("inf")
    return float(difference.abs().max() / alone.std())
