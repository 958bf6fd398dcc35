"""KV caches on PyTorch: sequences of one model that are decoded together, left-padded into one tensor for each layer.  [torch]

A sequence joins with the KV cache of its prefill and leaves without changing the others: position ids are passed for each row, so
padding does not change the result.
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

from api.loading.device_memory import classify_error

BATCHABLE_MODEL_TYPES = frozenset(
    {"idefics3", "smolvlm", "llama", "mistral", "qwen2", "phi", "phi3", "gemma", "starcoder2", "llava", "internvl"}
)
"""model_types whose sequences can share a group: plain causal attention with rotary positions. Others run one group per request."""
TEXT_DECODERS = {"blip-2": "language_model", "kosmos-2": "text_model"}
"""Models whose forward requires exactly one image: the attribute of the text decoder, which runs prompts without an image and all later
tokens. They compute position ids themselves."""
CACHE_HEADROOM = 256
"""Tokens of free space that a KV cache gets each time it grows."""


class PreallocatedLayer(DynamicLayer):
    """A KV cache layer that is written in place; DynamicLayer reallocates it at each token.

    `headroom`: tokens of free space to allocate; 0 when memory is short, and then it grows by CACHE_HEADROOM at most.
    """

    def __init__(
        self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None, *, headroom: int = CACHE_HEADROOM
    ) -> None:
        super().__init__()
        self.headroom, self.length = headroom, 0
        if keys is not None and values is not None:
            self._allocate(keys, values)

    def _allocate(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.length = keys.shape[-2]
        self.buffers = tuple(pad(states, (0, 0, 0, self.headroom)) for states in (keys, values))
        self._update_views()

    def _update_views(self) -> None:
        self.keys, self.values = (buffer[..., : self.length, :] for buffer in self.buffers)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.is_initialized:
            self._allocate(key_states[..., :0, :], value_states[..., :0, :])
        end = self.length + key_states.shape[-2]
        if end > self.buffers[0].shape[-2]:
            more = max(CACHE_HEADROOM, end) if self.headroom else CACHE_HEADROOM + end - self.length
            self.buffers = tuple(pad(buffer, (0, 0, 0, more)) for buffer in self.buffers)
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., self.length : end, :] = states
        self.length = end
        self._update_views()
        return self.keys, self.values

    def truncate(self, length: int) -> None:
        """Drop everything after the first `length` tokens."""
        if self.is_initialized:
            self.length = length
            self._update_views()


class SequenceGroup:
    """Sequences that run in one forward call, left-padded to `width`. `lengths`: tokens of each; `offsets`: added to its position ids."""

    def __init__(self, cache: Cache, length: int, offset: int, copies: int) -> None:
        self.layers: list[Any] = list(cache.layers)
        if copies > 1:
            cache.batch_repeat_interleave(copies)
        self.is_plain = all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)
        if self.is_plain:
            self.layers = [PreallocatedLayer(layer.keys, layer.values) for layer in cache.layers]
        self.cache = Cache(layers=self.layers) if self.is_plain else cache
        self.lengths, self.offsets, self.width = [length] * copies, [offset] * copies, length

    @classmethod
    def from_prefill(cls, layers: list[PreallocatedLayer], length: int, copies: int) -> SequenceGroup:
        """From the KV cache of a prompt that was prefilled in chunks."""
        rows = cls.__new__(cls)
        rows.is_plain, rows.layers = True, list(layers)
        if copies > 1:
            rows.layers = [
                PreallocatedLayer(*(states.repeat(copies, 1, 1, 1) for states in keys_and_values(layer))) for layer in layers
            ]
        rows.cache = Cache(layers=rows.layers)
        rows.lengths, rows.offsets, rows.width = [length] * copies, [0] * copies, length
        return rows

    def step(self, model: Any, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each row. Returns (rows, vocabulary) float32 on the CPU. Can be called again after an exception."""
        saved = [] if self.is_plain else [dict(vars(layer)) for layer in self.layers]  # these layers never write in place
        try:
            return self._step(model, tokens)
        except Exception:
            for layer, state in zip(self.layers, saved, strict=False):
                vars(layer).clear()
                vars(layer).update(state)
            for layer in self.layers if self.is_plain else ():
                layer.truncate(self.width)
            raise

    def _step(self, model: Any, tokens: Sequence[int]) -> torch.Tensor:
        has_position_ids = model.config.model_type not in TEXT_DECODERS and accepts_argument(model, "position_ids")
        model, device = text_decoder_of(model), model.device
        mask = torch.ones(len(tokens), self.width + 1, dtype=torch.long)
        for row, length in enumerate(self.lengths):
            mask[row, : self.width - length] = 0
        inputs: dict[str, Any] = {"input_ids": torch.tensor(tokens)[:, None].to(device), "attention_mask": mask.to(device)}
        if has_position_ids:
            positions = torch.tensor(self.lengths) + torch.tensor(self.offsets)
            inputs["position_ids"] = position_ids_for(model, positions).to(device)
        logits = model(**inputs, past_key_values=self.cache, use_cache=True).logits
        self.lengths, self.width = [length + 1 for length in self.lengths], self.width + 1
        return logits[:, -1].float().cpu()

    def split(self, selections: Sequence[slice]) -> list[SequenceGroup]:
        """New groups with copies of the selected rows. This group must not be used afterwards."""
        layers = [split_layer(layer, selections) for layer in self.layers]
        groups = []
        for number, rows in enumerate(selections):
            group, cache = copy.copy(self), copy.copy(self.cache)
            group.layers = cache.layers = [split[number] for split in layers]
            group.cache, group.lengths, group.offsets = cache, self.lengths[rows], self.offsets[rows]
            groups.append(group)
        return groups

    def release(self) -> None:
        self.layers, self.cache = [], Cache(layers=[])

    def merge(self, other: SequenceGroup) -> None:
        """Append the rows of `other`. Both groups must be plain."""
        width = max(self.width, other.width)
        self.layers = [
            PreallocatedLayer(
                *(
                    concat_padded(mine, theirs, width)
                    for mine, theirs in zip(keys_and_values(a), keys_and_values(b), strict=True)
                )
            )
            for a, b in zip(self.layers, other.layers, strict=True)
        ]
        self.cache = Cache(layers=self.layers)
        self.lengths, self.offsets, self.width = self.lengths + other.lengths, self.offsets + other.offsets, width

    def select(self, rows: list[int]) -> None:
        """Keep these rows and remove padding that no row needs. Layer by layer, so that memory peaks at one extra layer."""
        lengths = [self.lengths[row] for row in rows]
        if self.is_plain:
            first = self.width - max(lengths)
            for number, layer in enumerate(self.layers):
                self.layers[number] = PreallocatedLayer(*(states[rows, :, first:] for states in keys_and_values(layer)))
                del layer
            self.cache, self.width = Cache(layers=self.layers), max(lengths)
        else:
            self.cache.batch_select_indices(torch.tensor(rows))
        self.lengths, self.offsets = lengths, [self.offsets[row] for row in rows]


def split_layer(layer: Any, selections: Sequence[slice]) -> list[Any]:
    """One layer for each selection of rows, copied through main memory because the device has no room for copies."""
    device = layer.keys.device
    copies = [tuple(states[rows].to("cpu", copy=True) for states in keys_and_values(layer)) for rows in selections]
    layer.buffers = layer.keys = layer.values = None
    split = []
    for pair in copies:
        group = copy.copy(layer)
        group.headroom = 0
        group.keys, group.values = group.buffers = tuple(states.to(device) for states in pair)
        split.append(group)
    return split


def keys_and_values(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


def concat_padded(mine: torch.Tensor, theirs: torch.Tensor, width: int) -> torch.Tensor:
    return torch.cat([pad(states, (0, 0, width - states.shape[-2], 0)) for states in (mine, theirs)])


def text_decoder_of(model: Any) -> Any:
    return getattr(model, TEXT_DECODERS[model.config.model_type]) if model.config.model_type in TEXT_DECODERS else model


def accepts_argument(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def position_ids_for(model: Any, positions: torch.Tensor) -> torch.Tensor:
    """(rows, 1); (3, rows, 1) for models with multimodal rotary positions (time, height, width)."""
    rope = getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}
    return positions[None, :, None].expand(3, -1, -1) if "mrope_section" in rope else positions[:, None]


def cannot_free(error: Exception) -> bool:
    """The default `free`: there is nothing to free."""
    return False


class SequenceBatch:
    """The KV caches of all running sequences of one model, in groups. Each group runs in one forward call, one group after the other.

    The model is passed to each call because it may be evicted and reloaded between calls.
    """

    def __init__(self) -> None:
        self.groups: list[Any] = []

    @torch.inference_mode()
    def step(
        self, model: Any, tokens: Sequence[int], free: Callable[[Exception], bool] = cannot_free
    ) -> list[torch.Tensor | None]:
        """Append one token to each row. Returns (vocabulary,) logits for each row, in order; None for a row that doesn't fit alone.

        On out of memory, `free` is called until it returns False; then the group is split in halves.
        """
        logits: list[torch.Tensor | None] = []
        number = 0
        while number < len(self.groups):
            group = self.groups[number]
            count = len(group.lengths)
            try:
                logits += group.step(model, tokens[len(logits) : len(logits) + count])
            except Exception as error:
                if classify_error(error) != "oom":
                    raise
                traceback.clear_frames(error.__traceback__)  # the failed call's tensors live in its frames
                if free(error):
                    continue
                if count > 1:
                    self.groups[number : number + 1] = group.split([slice(0, count // 2), slice(count // 2, count)])
                    continue
                group.release()  # at once: the next one may need its memory
                logits.append(None)
            number += 1
        return logits

    @torch.inference_mode()
    def select(self, rows: list[int]) -> None:
        """Keep these rows, by index in ascending order, and drop the others."""
        first, groups = 0, []
        for group in self.groups:
            count = len(group.lengths)
            kept_rows = [row - first for row in rows if first <= row < first + count]
            if kept_rows and len(kept_rows) < count:
                groups += self._select_in(group, kept_rows)
            elif kept_rows:
                groups.append(group)
            first += count
        self.groups = groups

    def _select_in(self, group: Any, rows: list[int]) -> list[Any]:
        try:
            group.select(rows)
        except Exception as error:
            if classify_error(error) != "oom":
                raise
            return list(group.split([slice(row, row + 1) for row in rows]))
        return [group]

    def group_of(self, row: int) -> tuple[Any, int]:
        """The group that contains a row, and the row's index in it."""
        for group in self.groups:
            if row < len(group.lengths):
                break
            row -= len(group.lengths)
        return group, row


class TorchSequenceBatch(SequenceBatch):
    groups: list[SequenceGroup]

    @torch.inference_mode()
    def add(self, model: Any, inputs: dict[str, torch.Tensor], copies: int) -> torch.Tensor:
        """Prefill a whole prompt and append its rows. Returns the first token's logits: (vocabulary,) float32 on the CPU."""
        tensors = {name: to_model_device(value, model) for name, value in inputs.items()}
        module = model if "pixel_values" in inputs else text_decoder_of(model)
        extra = {"logits_to_keep": 1} if accepts_argument(module, "logits_to_keep") else {}
        cache = DynamicCache(config=model.config)
        output = module(**tensors, **extra, past_key_values=cache, use_cache=True)
        cache = getattr(output, "past_key_values", cache)  # BLIP-2 doesn't hand it out
        length = int(inputs["input_ids"].shape[1])
        self.add_group(model, SequenceGroup(cache, cache.get_seq_length() or length, rope_offset_of(model, inputs), copies))
        return output.logits[0, -1].float().cpu()

    @torch.inference_mode()
    def add_group(self, model: Any, rows: SequenceGroup) -> None:
        """Append rows: to the last group where the model type allows it, as a new group otherwise."""
        last = self.groups[-1] if self.groups else None
        if last is not None and rows.is_plain and last.is_plain and model.config.model_type in BATCHABLE_MODEL_TYPES:
            last.merge(rows)
        else:
            self.groups.append(rows)

    def kv_of(self, row: int) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], int]:
        """One row's keys and values, each (1, heads, length, size), and its length. Views, valid until the next step."""
        group, row = self.group_of(row)
        length = group.lengths[row]
        first = group.width - length
        return [tuple(states[row : row + 1, :, first:] for states in keys_and_values(layer)) for layer in group.layers], length  # type: ignore[misc]


def to_model_device(value: torch.Tensor, model: Any) -> torch.Tensor:
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)


def rope_offset_of(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """Qwen-VL: an image takes fewer positions than tokens. The model stores the difference of the last prompt with images."""
    deltas = getattr(model.base_model, "rope_deltas", None) if "image_grid_thw" in inputs else None
    return 0 if deltas is None else int(deltas.reshape(-1)[0])
