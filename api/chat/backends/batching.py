"""Answers of one model that are written together: their caches in one tensor, each row padded at its left.  [torch]

A row joins with the cache of its own prefill, and leaves without the others noticing. Positions are told to the model row by row, so
that padding changes nothing in what it computes.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from api.loading.memory import classify

TOGETHER = frozenset({"idefics3", "smolvlm", "llama", "mistral", "qwen2", "phi", "phi3", "gemma", "starcoder2", "llava"})
"""model_types whose rows may share a batch: plain causal attention with rotary positions. Rows of others are stepped one by one."""
WRITERS = {"blip-2": "language_model", "kosmos-2": "text_model"}
"""Models whose forward always wants a picture, one: the part of each that goes on from there, and reads what has none. Their rows are
stepped one by one, and they count positions in their own way."""
SPARE = 256
"""Places for tokens to come, each time that a cache has to grow."""


class RoomyLayer(DynamicLayer):
    """A cache that is written in place: DynamicLayer copies all of it at each token. `room`: places for tokens to come; 0 where memory
    is short, and then it grows by no more than SPARE at a time."""

    def __init__(self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None, *, room: int = SPARE) -> None:
        super().__init__()
        self.room, self.length = room, 0
        if keys is not None and values is not None:
            self._adopt(keys, values)

    def _adopt(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.length = keys.shape[-2]
        self.buffers = tuple(pad(states, (0, 0, 0, self.room)) for states in (keys, values))
        self._show()

    def _show(self) -> None:
        self.keys, self.values = (buffer[..., : self.length, :] for buffer in self.buffers)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.is_initialized:
            self._adopt(key_states[..., :0, :], value_states[..., :0, :])
        end = self.length + key_states.shape[-2]
        if end > self.buffers[0].shape[-2]:
            more = max(SPARE, end) if self.room else SPARE + end - self.length
            self.buffers = tuple(pad(buffer, (0, 0, 0, more)) for buffer in self.buffers)
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., self.length : end, :] = states
        self.length = end
        self._show()
        return self.keys, self.values

    def cut(self, length: int) -> None:
        """Forget what comes behind the first `length` tokens."""
        if self.is_initialized:
            self.length = length
            self._show()


class Rows:
    """Rows that are stepped in one call of the model. `lengths` are their tokens, `offsets` what is added to a position."""

    def __init__(self, cache: Cache, length: int, offset: int, copies: int) -> None:
        self.layers: list[Any] = list(cache.layers)
        if copies > 1:
            cache.batch_repeat_interleave(copies)
        self.plain = all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)
        if self.plain:
            self.layers = [RoomyLayer(layer.keys, layer.values) for layer in cache.layers]
        self.cache = Cache(layers=self.layers) if self.plain else cache
        self.lengths, self.offsets, self.width = [length] * copies, [offset] * copies, length

    @classmethod
    def read(cls, layers: list[RoomyLayer], length: int, copies: int) -> Rows:
        """Of a prompt that was read in pieces."""
        rows = cls.__new__(cls)
        rows.plain, rows.layers = True, list(layers)
        if copies > 1:
            rows.layers = [RoomyLayer(*(states.repeat(copies, 1, 1, 1) for states in pair_of(layer))) for layer in layers]
        rows.cache = Cache(layers=rows.layers)
        rows.lengths, rows.offsets, rows.width = [length] * copies, [0] * copies, length
        return rows

    def step(self, model: Any, tokens: Sequence[int]) -> torch.Tensor:
        """(rows, vocabulary) float32 on the CPU, after one token for each row. May be called again after it failed."""
        kept = [] if self.plain else [dict(vars(layer)) for layer in self.layers]  # these layers never write in place
        try:
            return self._step(model, tokens)
        except Exception:
            for layer, state in zip(self.layers, kept, strict=False):
                vars(layer).clear()
                vars(layer).update(state)
            for layer in self.layers if self.plain else ():
                layer.cut(self.width)
            raise

    def _step(self, model: Any, tokens: Sequence[int]) -> torch.Tensor:
        counted_here = model.config.model_type not in WRITERS and takes(model, "position_ids")
        model, device = writer_of(model), model.device
        mask = torch.ones(len(tokens), self.width + 1, dtype=torch.long)
        for row, length in enumerate(self.lengths):
            mask[row, : self.width - length] = 0
        inputs: dict[str, Any] = {"input_ids": torch.tensor(tokens)[:, None].to(device), "attention_mask": mask.to(device)}
        if counted_here:
            places = torch.tensor(self.lengths) + torch.tensor(self.offsets)
            inputs["position_ids"] = shaped_positions(model, places).to(device)
        logits = model(**inputs, past_key_values=self.cache, use_cache=True).logits
        self.lengths, self.width = [length + 1 for length in self.lengths], self.width + 1
        return logits[:, -1].float().cpu()

    def parts(self, chosen: Sequence[slice]) -> list[Rows]:
        """Some of the rows each, in memory of their own; this is used no more."""
        layers = [parted(layer, chosen) for layer in self.layers]
        made = []
        for number, rows in enumerate(chosen):
            part, part_cache = copy.copy(self), copy.copy(self.cache)
            part.layers = part_cache.layers = [parts[number] for parts in layers]
            part.cache, part.lengths, part.offsets = part_cache, self.lengths[rows], self.offsets[rows]
            made.append(part)
        return made

    def drop(self) -> None:
        self.layers, self.cache = [], Cache(layers=[])

    def join(self, other: Rows) -> None:
        """Both plain. The other's rows come behind these."""
        width = max(self.width, other.width)
        self.layers = [
            RoomyLayer(*(joined(mine, theirs, width) for mine, theirs in zip(pair_of(a), pair_of(b), strict=True)))
            for a, b in zip(self.layers, other.layers, strict=True)
        ]
        self.cache = Cache(layers=self.layers)
        self.lengths, self.offsets, self.width = self.lengths + other.lengths, self.offsets + other.offsets, width

    def keep(self, rows: list[int]) -> None:
        """Forget the others, and the padding that only they needed. Layer by layer: the old one is freed before the next is copied."""
        lengths = [self.lengths[row] for row in rows]
        if self.plain:
            first = self.width - max(lengths)
            for number, layer in enumerate(self.layers):
                self.layers[number] = RoomyLayer(*(states[rows, :, first:] for states in pair_of(layer)))
                del layer
            self.cache, self.width = Cache(layers=self.layers), max(lengths)
        else:
            self.cache.batch_select_indices(torch.tensor(rows))
        self.lengths, self.offsets = lengths, [self.offsets[row] for row in rows]


def parted(layer: Any, chosen: Sequence[slice]) -> list[Any]:
    """A layer of the cache for each of some rows. By way of main memory: where this is wanted the device has no room for copies."""
    device = layer.keys.device
    copies = [tuple(states[rows].to("cpu", copy=True) for states in pair_of(layer)) for rows in chosen]
    layer.buffers = layer.keys = layer.values = None
    parts = []
    for pair in copies:
        part = copy.copy(layer)
        part.room = 0
        part.keys, part.values = part.buffers = tuple(states.to(device) for states in pair)
        parts.append(part)
    return parts


def pair_of(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


def joined(mine: torch.Tensor, theirs: torch.Tensor, width: int) -> torch.Tensor:
    return torch.cat([pad(states, (0, 0, width - states.shape[-2], 0)) for states in (mine, theirs)])


def writer_of(model: Any) -> Any:
    return getattr(model, WRITERS[model.config.model_type]) if model.config.model_type in WRITERS else model


def takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def shaped_positions(model: Any, places: torch.Tensor) -> torch.Tensor:
    """(rows, 1); (3, rows, 1) for models whose positions have a time, a height and a width."""
    rope = getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}
    return places[None, :, None].expand(3, -1, -1) if "mrope_section" in rope else places[:, None]


def refuse(error: Exception) -> bool:
    """There is nothing to make room with."""
    return False


class GroupedBatch:
    """All answers of one model that are under way. The model itself is passed in at each call: it may be evicted in between.

    Rows of one group are stepped in one call; the groups, one after the other.
    """

    def __init__(self) -> None:
        self.groups: list[Any] = []

    @torch.inference_mode()
    def step(self, model: Any, tokens: Sequence[int], free: Callable[[Exception], bool] = refuse) -> list[torch.Tensor | None]:
        """(vocabulary,) for each row, in order, after one more token of it.

        When memory runs out, `free` is asked to make room, as long as it finds any; then the rows are stepped in smaller groups.
        None for a row that doesn't fit alone.
        """
        logits: list[torch.Tensor | None] = []
        number = 0
        while number < len(self.groups):
            group = self.groups[number]
            count = len(group.lengths)
            try:
                logits += group.step(model, tokens[len(logits) : len(logits) + count])
            except Exception as error:
                if classify(error) != "oom":
                    raise
                traceback.clear_frames(error.__traceback__)  # the failed call's tensors live in its frames
                if free(error):
                    continue
                if count > 1:
                    self.groups[number : number + 1] = group.parts([slice(0, count // 2), slice(count // 2, count)])
                    continue
                group.drop()  # at once: the next one may need its memory
                logits.append(None)
            number += 1
        return logits

    @torch.inference_mode()
    def keep(self, rows: list[int]) -> None:
        """Rows that are left, by their old numbers in order."""
        first, groups = 0, []
        for group in self.groups:
            count = len(group.lengths)
            mine = [row - first for row in rows if first <= row < first + count]
            if mine and len(mine) < count:
                groups += self._kept(group, mine)
            elif mine:
                groups.append(group)
            first += count
        self.groups = groups

    def _kept(self, group: Any, rows: list[int]) -> list[Any]:
        try:
            group.keep(rows)
        except Exception as error:
            if classify(error) != "oom":
                raise
            return list(group.parts([slice(row, row + 1) for row in rows]))
        return [group]

    def group_of(self, row: int) -> tuple[Any, int]:
        """The group that a row is in, and its number there."""
        for group in self.groups:
            if row < len(group.lengths):
                break
            row -= len(group.lengths)
        return group, row


class TorchBatch(GroupedBatch):
    groups: list[Rows]

    @torch.inference_mode()
    def add(self, model: Any, inputs: dict[str, torch.Tensor], copies: int) -> torch.Tensor:
        """Read a prompt; its rows come behind all others. (vocabulary,) float32 on the CPU: the logits of what comes first."""
        given = {name: place(value, model) for name, value in inputs.items()}
        asked = model if "pixel_values" in inputs else writer_of(model)
        extra = {"logits_to_keep": 1} if takes(asked, "logits_to_keep") else {}
        cache = DynamicCache(config=model.config)
        output = asked(**given, **extra, past_key_values=cache, use_cache=True)
        filled = getattr(output, "past_key_values", cache)  # BLIP-2 doesn't hand it out
        length = int(inputs["input_ids"].shape[1])
        self.take(model, Rows(filled, filled.get_seq_length() or length, offset_of(model, inputs), copies))
        return output.logits[0, -1].float().cpu()

    @torch.inference_mode()
    def take(self, model: Any, rows: Rows) -> None:
        """They come behind all others."""
        last = self.groups[-1] if self.groups else None
        if last is not None and rows.plain and last.plain and model.config.model_type in TOGETHER:
            last.join(rows)
        else:
            self.groups.append(rows)

    def cut(self, row: int) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], int]:
        """One row's keys and values, (1, heads, length, size) each, and its length. Views: they change with the next step."""
        group, row = self.group_of(row)
        length = group.lengths[row]
        first = group.width - length
        return [tuple(states[row : row + 1, :, first:] for states in pair_of(layer)) for layer in group.layers], length  # type: ignore[misc]


def place(value: torch.Tensor, model: Any) -> torch.Tensor:
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)


def offset_of(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """Qwen-VL: a picture takes fewer positions than it has tokens. The model keeps by how many, of the last prompt with pictures."""
    deltas = getattr(model.base_model, "rope_deltas", None) if "image_grid_thw" in inputs else None
    return 0 if deltas is None else int(deltas.reshape(-1)[0])
