"""Chunked prefill on PyTorch: prompts run in chunks, so that running sequences keep generating, from the end of a cached prefix.

For models whose sequences can share a group (sequence_groups.BATCHABLE_MODEL_TYPES) and that have full attention. Others prefill a
prompt whole: their caches can't be truncated, or their position ids depend on more than a token's index.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from api.chat.backends.prefix_cache import CachedPrefix, CacheLimits, Layers, PromptCache
from api.chat.backends.prompting import Prompt
from api.chat.backends.sampling import SampledToken, logprobs_entry, scored_token
from api.chat.backends.sequence_groups import (
    BATCHABLE_MODEL_TYPES,
    CACHE_HEADROOM,
    PreallocatedLayer,
    SequenceGroup,
    accepts_argument,
    to_model_device,
)
from api.loading.device_memory import classify_error

CHUNK_TOKENS = {"cpu": 128}
"""Prompt tokens that run between two decode steps, by device type; LARGE_CHUNK_TOKENS on other devices."""
LARGE_CHUNK_TOKENS = 512
TEXT_INPUTS = frozenset({"input_ids", "attention_mask"})
IMAGE_INPUTS = {
    "idefics3": ("pixel_values", "pixel_attention_mask"),
    "smolvlm": ("pixel_values", "pixel_attention_mask"),
    "llava": ("pixel_values",),
    "internvl": ("pixel_values",),
}
"""The processor's outputs for images, of models that encode each tile independently into a fixed number of tokens."""


class Prefiller:
    """Starts the prefills of one batch and stores its prefixes. `cache`: the model's own while the model is pinned."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.cache = PromptCache(CacheLimits())

    def save_prefix(self, row: int, prompt: Prompt, tokens: list[int]) -> None:
        """Store the KV cache of a row that is about to be dropped. `tokens`: what was generated in it."""
        if prompt.token_keys is None or not self.cache.prefixes.limit:
            return
        layers, length = self.batch.kv_of(row)
        token_keys = torch.cat([prompt.token_keys, torch.tensor(tokens, dtype=torch.long)])[:length]
        try:
            self.cache.add(CachedPrefix(prompt.owner, token_keys, layers))
        except Exception as error:  # the cache is optional: free it instead
            if classify_error(error) != "oom":
                raise
            self.cache.clear()


class TorchPrefiller(Prefiller):
    def start(self, model: Any, prompt: Prompt, copies: int) -> TorchPrefill | None:
        """None where this prompt can only be prefilled whole."""
        names = IMAGE_INPUTS.get(model.config.model_type, ())
        if (
            model.config.model_type not in BATCHABLE_MODEL_TYPES
            or prompt.inputs.keys() - TEXT_INPUTS - set(names)
            or not has_full_attention(model)
        ):
            return None
        ids = prompt.inputs["input_ids"][0]
        tiles = ImageTiles(prompt, names, model.config.image_token_id) if names and names[0] in prompt.inputs else None
        if tiles is not None and not tiles.is_uniform:
            return None
        prompt.token_keys = ids if tiles is None else tiles.token_keys_of(ids)
        return TorchPrefill(self, model, prompt, tiles, copies)


def has_full_attention(model: Any) -> bool:
    """False for sliding-window attention."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


class PromptPrefill(ABC):
    """One prompt's prefill. `position`: tokens that are done; `cached`: those of them that came from the prefix cache."""

    def __init__(self, prefiller: Prefiller, model: Any, prompt: Prompt, tiles: ImageTiles | None, copies: int) -> None:
        self.prefiller, self.prompt, self.tiles, self.copies = prefiller, prompt, tiles, copies
        assert prompt.token_keys is not None
        none: Layers = []
        is_scored = prompt.scores is not None  # then every token must run
        known, shared = (none, 0) if is_scored else prefiller.cache.longest_match(prompt.owner, prompt.token_keys)
        self.cached = self.position = min(shared, prompt.length - 1)  # the last token must run: its logits are needed
        self.load_prefix(model, known)
        # The pixels are needed while they are read, by the tiles; the prompt stays for as long as the answer is written.
        prompt.inputs = {name: value for name, value in prompt.inputs.items() if name in TEXT_INPUTS}

    @abstractmethod
    def load_prefix(self, model: Any, known: Layers) -> None:
        """Set up KV caches that hold the first `position` tokens of `known`."""

    def score(self, logits: torch.Tensor) -> None:
        """Records how likely the tokens are that come behind those of a chunk, by its logits: (tokens, vocabulary)."""
        scores, ids = self.prompt.scores, self.prompt.inputs["input_ids"][0].tolist()
        if scores is None:
            return
        tokenizer = self.prompt.tokenizer
        if not self.position:
            scores.entries[0] = {**logprobs_entry(tokenizer, SampledToken(ids[0])), "logprob": None}
        for place, row in enumerate(logits.float().cpu().log_softmax(-1), self.position + 1):
            if place < len(ids):
                scores.entries[place] = logprobs_entry(tokenizer, scored_token(row, ids[place], scores.top_logprobs))

    def image_features(self, model: Any, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Which tokens of this chunk are image tokens, (1, last - first) bool, and their features; None where there are none."""
        if self.tiles is None:
            return None
        ids = self.prompt.inputs["input_ids"]
        is_image = ids[:, first:last] == self.tiles.token
        if not is_image.any():
            return None
        before = int((ids[:, :first] == self.tiles.token).sum())
        cache, owner = self.prefiller.cache, self.prompt.owner
        return is_image, self.tiles.features(model, before, before + int(is_image.sum()), cache, owner)


class TorchPrefill(PromptPrefill):
    def load_prefix(self, model: Any, known: Layers) -> None:
        headroom = self.prompt.length - self.position + CACHE_HEADROOM
        if self.position:
            self.layers = [
                PreallocatedLayer(*(states[..., : self.position, :] for states in pair), headroom=headroom) for pair in known
            ]
        else:
            self.layers = [PreallocatedLayer(headroom=headroom) for _ in DynamicCache(config=model.config).layers]

    @torch.inference_mode()
    def run_chunk(self, model: Any) -> torch.Tensor | None:
        """Run the next chunk. The last one adds the rows to the batch and returns logits, (vocabulary,) float32 on the CPU.

        Can be called again after an exception.
        """
        end = min(self.position + CHUNK_TOKENS.get(model.device.type, LARGE_CHUNK_TOKENS), self.prompt.length)
        for layer in self.layers:
            layer.truncate(self.position)
        keep_one = self.prompt.scores is None and accepts_argument(model, "logits_to_keep")
        extra = {"logits_to_keep": 1} if keep_one else {}
        output = model(
            **self.chunk_inputs(model, self.position, end),
            **extra,
            attention_mask=torch.ones(1, end, dtype=torch.long, device=model.device),
            position_ids=torch.arange(self.position, end, device=model.device)[None],
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        )
        self.score(output.logits[0])
        if end == self.prompt.length:
            self.prefiller.batch.add_group(model, SequenceGroup.from_prefill(self.layers, end, self.copies))
        self.position = end
        return output.logits[0, -1].float().cpu() if end == self.prompt.length else None

    def chunk_inputs(self, model: Any, first: int, last: int) -> dict[str, torch.Tensor]:
        ids = self.prompt.inputs["input_ids"][:, first:last].to(model.device)
        if self.tiles is None:
            return {"input_ids": ids}
        embeddings = model.get_input_embeddings()(ids)
        if found := self.image_features(model, first, last):
            is_image, features = found
            embeddings[is_image.to(model.device)] = features.to(embeddings.dtype)
        return {"inputs_embeds": embeddings}


class ImageTiles:
    """The image tiles of one prompt, in order; each stands for `tokens_per_tile` image tokens."""

    def __init__(self, prompt: Prompt, names: tuple[str, ...], token: int) -> None:
        self.token, self.is_nested = token, prompt.inputs[names[0]].dim() == 5
        self.inputs = {
            name: prompt.inputs[name][0] if self.is_nested else prompt.inputs[name] for name in names if name in prompt.inputs
        }
        self.count = len(self.inputs[names[0]])
        self.tokens_per_tile, rest = divmod(int((prompt.inputs["input_ids"] == token).sum()), self.count)
        self.is_uniform = not rest and self.tokens_per_tile > 0
        self.hashes = [self.hash_of(tile) for tile in range(self.count)]
        self.last_features: dict[int, torch.Tensor] = {}

    def hash_of(self, tile: int) -> int:
        """A hash of all the model's inputs for one tile: 63 bits, negative, so that it never equals a token id."""
        digest = hashlib.sha256()
        for value in self.inputs.values():
            digest.update(value[tile].contiguous().numpy().tobytes())
        return -(int.from_bytes(digest.digest()[:8], "big") >> 1) - 1

    def token_keys_of(self, ids: torch.Tensor) -> torch.Tensor:
        token_keys = ids.clone()
        token_keys[ids == self.token] = torch.tensor(self.hashes).repeat_interleave(self.tokens_per_tile)
        return token_keys

    def features(self, model: Any, first: int, last: int, cache: PromptCache, owner: str) -> torch.Tensor:
        """(last - first, size) features of image tokens `first` to `last`, counted over the whole prompt."""
        wanted = range(first // self.tokens_per_tile, (last - 1) // self.tokens_per_tile + 1)
        known = {tile: self.last_features.get(tile, cache.image_features.get((owner, self.hashes[tile]))) for tile in wanted}
        missing = [tile for tile in wanted if known[tile] is None]
        if missing:
            for tile, features in zip(missing, self.encode(model, missing), strict=True):
                known[tile] = features
                cache.image_features.put((owner, self.hashes[tile]), features.clone(), features.nbytes)
        self.last_features = {wanted[-1]: known[wanted[-1]]}  # the next chunk may start inside this tile
        return torch.cat([known[tile] for tile in wanted])[first - wanted[0] * self.tokens_per_tile :][: last - first]

    def encode(self, model: Any, tiles: list[int]) -> torch.Tensor:
        """Features: (tiles, tokens_per_tile, size)."""
        tensors = {name: to_model_device(value[tiles], model) for name, value in self.inputs.items()}
        if self.is_nested:
            tensors = {name: value[None] for name, value in tensors.items()}
        found = model.get_image_features(**tensors, return_dict=True).pooler_output
        return torch.cat(list(found)).view(len(tiles), self.tokens_per_tile, -1)
