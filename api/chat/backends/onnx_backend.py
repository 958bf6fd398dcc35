"""Chats on onnxruntime: the decode loop of the PyTorch backend, with logits from the loader's ONNX sessions.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnxruntime import OrtValue

from api.chat.backends.decode import DecodeLoop
from api.chat.backends.prefill import CHUNK_TOKENS, ImageTiles, Prefiller, PromptPrefill
from api.chat.backends.prefix_cache import Layers
from api.chat.backends.prompting import Prompt
from api.chat.backends.sequence_groups import SequenceBatch
from api.chat.backends.torch_backend import TorchBackend
from api.devices import trim_heap
from api.loading.onnx import Array, OnnxModel

TRIM_EVERY_TOKENS = 24
"""Tokens between two malloc_trim calls: KV caches that grow with each token fragment the heap."""
LOGIT_TOLERANCE = 0.2
"""Largest accepted difference between batched and single logits, in standard deviations: int8 scales depend on the whole batch."""


class OnnxBackend(TorchBackend):
    """All running chats of one model. `model_id`: of an ONNX variant, such as `starter-vlm@onnx-int8`."""

    name = "onnx"

    def step(self) -> bool:
        worked = super().step()
        if worked and not self.decode_loop.answers:
            trim_heap()
        return worked

    def close(self) -> None:
        batch = OnnxSequenceBatch()
        self.decode_loop = DecodeLoop(batch, OnnxPrefiller(batch))


class OnnxSequenceGroup:
    """Sequences that run in one session call. Each cache is (rows, heads, width, size); row i has `lengths[i]` tokens in it."""

    def __init__(self, caches: list[OrtValue], length: int, copies: int = 1) -> None:
        self.caches, self.lengths, self.width = caches, [length] * copies, length
        self.padding = "left"
        if copies > 1:
            self.caches = map_caches(caches, lambda cache: cache.repeat(copies, axis=0))

    def step(self, model: OnnxModel, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each row. Returns (rows, vocabulary) float32."""
        mask = np.zeros((len(tokens), self.width + 1), np.int64)
        for row, length in enumerate(self.lengths):
            mask[row, : length + 1] = 1
        if self.padding == "left":
            mask = mask[:, ::-1]
        embedded = model.embed({"input_ids": np.array(tokens, np.int64)[:, None]})
        logits, self.caches = model.decode(embedded, mask, np.array(self.lengths)[:, None], self.caches)
        self.lengths, self.width = [length + 1 for length in self.lengths], self.width + 1
        if self.width % TRIM_EVERY_TOKENS == 0:
            trim_heap()
        return torch.from_numpy(logits)

    def split(self, selections: Sequence[slice]) -> list[OnnxSequenceGroup]:
        """New groups with copies of the selected rows. This group must not be used afterwards."""
        groups = []
        for rows in selections:
            group = OnnxSequenceGroup(map_caches(self.caches, lambda cache, rows=rows: cache[rows].copy()), self.width)  # type: ignore[misc]
            group.lengths, group.padding = self.lengths[rows], self.padding
            groups.append(group)
        return groups

    def release(self) -> None:
        self.caches = []

    def merge(self, other: OnnxSequenceGroup, padding: str) -> None:
        """Append the rows of `other`. `padding`: the side on which shorter rows are padded, "left" or "right"."""
        width = max(self.width, other.width)
        pairs = zip(self.caches, other.caches, strict=True)
        both = [[padded(cache.numpy(), width, padding) for cache in pair] for pair in pairs]
        self.caches = [OrtValue.ortvalue_from_numpy(np.concatenate(pair)) for pair in both]
        self.lengths, self.width, self.padding = self.lengths + other.lengths, width, padding

    def select(self, rows: list[int]) -> None:
        """Keep these rows and remove padding that no row needs."""
        lengths = [self.lengths[row] for row in rows]
        width = max(lengths)
        place = slice(self.width - width, None) if self.padding == "left" else slice(0, width)
        self.caches = map_caches(self.caches, lambda cache: cache[rows, :, place])
        self.lengths, self.width = lengths, width


def map_caches(caches: Sequence[OrtValue], change: Callable[[Array], Array]) -> list[OrtValue]:
    return [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(change(cache.numpy()))) for cache in caches]


def padded(cache: Array, width: int, padding: str) -> Array:
    spare = width - cache.shape[2]
    places = (spare, 0) if padding == "left" else (0, spare)
    return np.pad(cache, ((0, 0), (0, 0), places, (0, 0)))


class OnnxSequenceBatch(SequenceBatch):
    """The KV caches of all running sequences of one model (`decode.DecodeBatch`)."""

    groups: list[OnnxSequenceGroup]

    def add(self, model: OnnxModel, inputs: Mapping[str, torch.Tensor], copies: int) -> torch.Tensor:
        """Prefill a whole prompt and append its rows. Returns the first token's logits: (vocabulary,) float32."""
        logits, caches, length = prefill_whole(model, {name: value.numpy() for name, value in inputs.items()})
        self.add_group(model, OnnxSequenceGroup(caches, length, copies))
        return torch.from_numpy(logits[0])

    def add_group(self, model: OnnxModel, rows: OnnxSequenceGroup) -> None:
        """Append rows: to the last group if this model can be batched, as a new group otherwise."""
        if self.groups and (padding := padding_side_of(model)):
            self.groups[-1].merge(rows, padding)
        else:
            self.groups.append(rows)

    def kv_of(self, row: int) -> tuple[Layers, int]:
        """One row's keys and values, (1, heads, length, size) each, and its length."""
        group, row = self.group_of(row)
        length = group.lengths[row]
        first = group.width - length if group.padding == "left" else 0
        states = [torch.from_numpy(cache.numpy()[row : row + 1, :, first : first + length]) for cache in group.caches]
        return list(zip(states[::2], states[1::2], strict=True)), length


class OnnxPrefiller(Prefiller):
    def start(self, model: OnnxModel, prompt: Prompt, copies: int) -> OnnxPrefill | None:
        """None where this prompt can only be prefilled whole: its image tokens can't be assigned to tiles."""
        tiles = OnnxImageTiles(prompt, model) if model.has_images(prompt.inputs) else None
        if tiles is not None and not tiles.is_uniform:
            return None
        ids = prompt.inputs["input_ids"][0]
        prompt.token_keys = ids if tiles is None else tiles.token_keys_of(ids)
        return OnnxPrefill(self, model, prompt, tiles, copies)


class OnnxPrefill(PromptPrefill):
    reads_singly = False
    """One token in a chunk: how a prompt is scored by a graph that tells no more."""

    def load_prefix(self, model: OnnxModel, known: Layers) -> None:
        self.caches = model.empty_caches()
        if self.position:
            prefixes = [states[:, :, : self.position].numpy() for pair in known for states in pair]
            self.caches = [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(prefix)) for prefix in prefixes]

    def run_chunk(self, model: OnnxModel) -> torch.Tensor | None:
        """Run the next chunk. The last one adds the rows to the batch and returns logits, (vocabulary,) float32.

        Can be called again after an exception.
        """
        end = min(self.position + (1 if self.reads_singly else CHUNK_TOKENS["cpu"]), self.prompt.length)
        logits, caches = model.decode(
            self.chunk_inputs(model, self.position, end),
            np.ones((1, end), np.int64),
            np.arange(self.position, end)[None],
            self.caches,
            every_token=self.prompt.scores is not None,
        )
        if self.prompt.scores is not None:
            if logits.shape[1] != end - self.position:  # the graph gives those of the last token alone
                self.reads_singly = True
                return self.run_chunk(model)
            self.score(torch.from_numpy(logits[0]))
            logits = logits[:, -1]
        if end == self.prompt.length:
            self.prefiller.batch.add_group(model, OnnxSequenceGroup(caches, end, self.copies))
        self.position, self.caches = end, caches
        return torch.from_numpy(logits[0]) if end == self.prompt.length else None

    def chunk_inputs(self, model: OnnxModel, first: int, last: int) -> dict[str, Array]:
        inputs = model.embed({"input_ids": self.prompt.inputs["input_ids"][:, first:last].numpy()})
        if found := self.image_features(model, first, last):
            is_image, features = found
            inputs["inputs_embeds"][is_image.numpy()] = features.numpy()
        return inputs


class OnnxImageTiles(ImageTiles):
    def __init__(self, prompt: Prompt, model: OnnxModel) -> None:
        assert model.vision_encoder is not None
        assert model.image_token is not None
        super().__init__(prompt, tuple(name for name in model.vision_encoder.types if name in prompt.inputs), model.image_token)

    def encode(self, model: OnnxModel, tiles: list[int]) -> torch.Tensor:
        """Features: (tiles, tokens_per_tile, size)."""
        tensors = {name: value[tiles].numpy() for name, value in self.inputs.items()}
        found = model.encode_images({name: value[None] for name, value in tensors.items()} if self.is_nested else tensors)
        return torch.from_numpy(found).view(len(tiles), self.tokens_per_tile, -1)


def prefill_whole(model: OnnxModel, inputs: Mapping[str, Any]) -> tuple[Array, list[OrtValue], int]:
    """Prefill one prompt: the next token's logits (1, vocabulary), the KV caches, and the length in tokens."""
    length = inputs["input_ids"].shape[1]
    mask = np.ones((1, length), np.int64)
    logits, caches = model.decode(model.embed(inputs), mask, np.arange(length)[None], model.empty_caches())
    return logits, caches, length


def padding_side_of(model: OnnxModel) -> str:
    """The side on which rows of this model are padded; "" where rows can't share a batch.

    The graph doesn't declare it. A decoder with an ordinary mask accepts padding on either side; one with fused attention
    (GroupQueryAttention) counts the ones in the mask and needs tokens at the left; some take no mask. So both sides are tried once:
    two short rows in a batch against each row alone.
    """
    if model.padding is None:
        errors = (
            {side: padding_error(model, side) for side in ("left", "right")} if "attention_mask" in model.decoder.types else {}
        )
        best = min(errors, key=lambda side: errors[side], default="")
        model.padding = best if errors.get(best, 1.0) < LOGIT_TOLERANCE else ""
    return model.padding


def padding_error(model: OnnxModel, padding: str) -> float:
    """The largest difference between batched and single logits, in standard deviations of the logits."""
    prompts, tokens = ([1, 2, 3, 4, 5], [6, 7]), [2, 3]

    def group_of_prompt(prompt: list[int]) -> OnnxSequenceGroup:
        _, caches, length = prefill_whole(model, {"input_ids": np.array([prompt])})
        return OnnxSequenceGroup(caches, length)

    single_logits = torch.cat(
        [group_of_prompt(prompt).step(model, [token]) for prompt, token in zip(prompts, tokens, strict=True)]
    )
    batched = group_of_prompt(prompts[0])
    batched.merge(group_of_prompt(prompts[1]), padding)
    try:
        difference = batched.step(model, tokens) - single_logits
    except Exception:  # some graphs refuse shapes that they were not made for; onnxruntime's errors have no base of their own
        return float("inf")
    return float(difference.abs().max() / single_logits.std())
