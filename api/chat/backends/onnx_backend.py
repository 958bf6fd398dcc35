"""Chats on onnxruntime: the same decode loop as on PyTorch, with logits from ONNX sessions that the loader owns.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnxruntime import OrtValue

from api.chat.backends.batching import GroupedBatch
from api.chat.backends.decode import Engine
from api.chat.backends.prefix_cache import Layers
from api.chat.backends.prompting import Prompt
from api.chat.backends.reading import PIECE, Reader, Tiles
from api.chat.backends.torch_backend import TorchBackend
from api.devices import give_back_freed_memory
from api.loading.onnx import Array, OnnxModel

TIDY_TOKENS = 24
"""Between two hand-backs of freed memory: caches that grow with each token leave gaps that none of them fits into any more."""
SAME = 0.2
"""Logits of a row in a batch may differ from those of the row alone by this part of their spread: int8 scales see the whole batch."""


class OnnxBackend(TorchBackend):
    """The chats of one model that are under way. `model_id`: of a variant, such as `starter-vlm@onnx-int8`."""

    name = "onnx"

    def step(self) -> bool:
        wrote = super().step()
        if wrote and not self.engine.answers:
            give_back_freed_memory()
        return wrote

    def close(self) -> None:
        batch = OnnxBatch()
        self.engine = Engine(batch, OnnxReader(batch))


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
        if self.width % TIDY_TOKENS == 0:
            give_back_freed_memory()
        return torch.from_numpy(logits)

    def parts(self, chosen: Sequence[slice]) -> list[OnnxRows]:
        """Some of the rows each; this is used no more."""
        made = []
        for rows in chosen:
            part = OnnxRows(changed(self.caches, lambda cache, rows=rows: cache[rows]), self.width)  # type: ignore[misc]
            part.lengths, part.padding = self.lengths[rows], self.padding
            made.append(part)
        return made

    def drop(self) -> None:
        self.caches = []

    def join(self, other: OnnxRows, padding: str) -> None:
        """The other's rows come behind these. `padding`: the side on which this model's shorter rows are filled up."""
        width = max(self.width, other.width)
        pairs = zip(self.caches, other.caches, strict=True)
        both = [[filled(cache.numpy(), width, padding) for cache in pair] for pair in pairs]
        self.caches = [OrtValue.ortvalue_from_numpy(np.concatenate(pair)) for pair in both]
        self.lengths, self.width, self.padding = self.lengths + other.lengths, width, padding

    def keep(self, rows: list[int]) -> None:
        """Forget the others, and the padding that only they needed."""
        lengths = [self.lengths[row] for row in rows]
        width = max(lengths)
        place = slice(self.width - width, None) if self.padding == "left" else slice(0, width)
        self.caches = changed(self.caches, lambda cache: cache[rows, :, place])
        self.lengths, self.width = lengths, width


def changed(caches: Sequence[OrtValue], change: Callable[[Array], Array]) -> list[OrtValue]:
    return [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(change(cache.numpy()))) for cache in caches]


def filled(cache: Array, width: int, padding: str) -> Array:
    spare = width - cache.shape[2]
    places = (spare, 0) if padding == "left" else (0, spare)
    return np.pad(cache, ((0, 0), (0, 0), places, (0, 0)))


class OnnxBatch(GroupedBatch):
    """All answers of one model that are under way, as `decode.Engine` wants them."""

    groups: list[OnnxRows]

    def add(self, model: OnnxModel, inputs: Mapping[str, torch.Tensor], copies: int) -> torch.Tensor:
        """Read a prompt; its rows come behind all others. (vocabulary,) float32: the logits of what comes first."""
        logits, caches, length = read(model, {name: value.numpy() for name, value in inputs.items()})
        self.take(model, OnnxRows(caches, length, copies))
        return torch.from_numpy(logits[0])

    def take(self, model: OnnxModel, rows: OnnxRows) -> None:
        """They come behind all others."""
        if self.groups and (padding := padding_of(model)):
            self.groups[-1].join(rows, padding)
        else:
            self.groups.append(rows)

    def cut(self, row: int) -> tuple[Layers, int]:
        """One row's keys and values, (1, heads, length, size) each, and its length."""
        group, row = self.group_of(row)
        length = group.lengths[row]
        first = group.width - length if group.padding == "left" else 0
        mine = [torch.from_numpy(cache.numpy()[row : row + 1, :, first : first + length]) for cache in group.caches]
        return list(zip(mine[::2], mine[1::2], strict=True)), length


class OnnxReader(Reader):
    def begin(self, model: OnnxModel, prompt: Prompt, copies: int) -> OnnxReading | None:
        """None where this model reads a prompt whole: its pictures can't be told tile from tile."""
        tiles = OnnxTiles(prompt, model) if model.sees(prompt.inputs) else None
        if tiles is not None and not tiles.fit:
            return None
        ids = prompt.inputs["input_ids"][0]
        prompt.marks = ids if tiles is None else tiles.marked(ids)
        return OnnxReading(self, model, prompt, prompt.marks, tiles, copies)


class OnnxReading:
    """One prompt, as far as it is read. `cached`: its tokens that an earlier chat has read."""

    def __init__(
        self, reader: OnnxReader, model: OnnxModel, prompt: Prompt, marks: torch.Tensor, tiles: Tiles | None, copies: int
    ) -> None:
        self.reader, self.prompt, self.tiles, self.copies = reader, prompt, tiles, copies
        known, shared = reader.memory.recall(prompt.owner, marks)
        self.cached = self.done = min(shared, prompt.length - 1)  # the last one has to be read: what comes behind it is asked
        self.caches = model.no_caches()
        if self.done:
            parts = [states[:, :, : self.done].numpy() for pair in known for states in pair]
            self.caches = [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(part)) for part in parts]

    def go_on(self, model: OnnxModel) -> torch.Tensor | None:
        """Read a piece; after the last one the rows are in the batch, and this gives (vocabulary,) float32.

        May be called again after it failed.
        """
        end = min(self.done + PIECE["cpu"], self.prompt.length)
        logits, caches = model.decode(
            self.piece(model, self.done, end), np.ones((1, end), np.int64), np.arange(self.done, end)[None], self.caches
        )
        if end == self.prompt.length:
            self.reader.batch.take(model, OnnxRows(caches, end, self.copies))
        self.done, self.caches = end, caches
        return torch.from_numpy(logits[0]) if end == self.prompt.length else None

    def piece(self, model: OnnxModel, first: int, last: int) -> dict[str, Array]:
        ids = self.prompt.inputs["input_ids"]
        made = model.embed({"input_ids": ids[:, first:last].numpy()})
        if self.tiles is None:
            return made
        shown = ids[:, first:last] == self.tiles.token
        if shown.any():
            before = int((ids[:, :first] == self.tiles.token).sum())
            features = self.tiles.features(model, before, before + int(shown.sum()), self.reader.memory, self.prompt.owner)
            made["inputs_embeds"][shown.numpy()] = features.numpy()
        return made


class OnnxTiles(Tiles):
    def __init__(self, prompt: Prompt, model: OnnxModel) -> None:
        assert model.eyes is not None
        assert model.image_token is not None
        super().__init__(prompt, tuple(name for name in model.eyes.types if name in prompt.inputs), model.image_token)

    def look(self, model: OnnxModel, tiles: list[int]) -> torch.Tensor:
        """(tiles, each, size)"""
        given = {name: value[tiles].numpy() for name, value in self.inputs.items()}
        found = model.look({name: value[None] for name, value in given.items()} if self.nested else given)
        return torch.from_numpy(found).view(len(tiles), self.each, -1)


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
