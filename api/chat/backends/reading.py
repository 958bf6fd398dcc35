"""Reading prompts on PyTorch: in pieces, so that others go on writing meanwhile, and only what wasn't read before.

This is for the models whose rows may share a batch (batching.TOGETHER) and whose attention sees everything before a token. Others
read a prompt whole: their caches can't be cut, or their positions depend on more than a token's place.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from api.chat.backends.batching import SPARE, TOGETHER, RoomyLayer, Rows, place, takes
from api.chat.backends.prefix_cache import Limits, Memory, Prefix
from api.chat.backends.prompting import Prompt
from api.loading.memory import classify

PIECE = {"cpu": 128}
"""Tokens of a prompt that are read between two tokens of everybody else; on other devices LARGE_PIECE."""
LARGE_PIECE = 512
TEXT = frozenset({"input_ids", "attention_mask"})
SEEING = {
    "idefics3": ("pixel_values", "pixel_attention_mask"),
    "smolvlm": ("pixel_values", "pixel_attention_mask"),
    "llava": ("pixel_values",),
}
"""How the processors of these hand over pictures: as tiles, each of which is looked at by itself and becomes as many tokens."""


class Reader:
    """Begins and remembers for one batch. `memory`: the model's, set while that is pinned."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.memory = Memory(Limits())

    def remember(self, row: int, prompt: Prompt, tokens: list[int]) -> None:
        """A row that is about to be forgotten; `tokens` were written, and all but the last few of them read again."""
        if prompt.marks is None or not self.memory.prefixes.limit:
            return
        layers, length = self.batch.cut(row)
        marks = torch.cat([prompt.marks, torch.tensor(tokens, dtype=torch.long)])[:length]
        try:
            self.memory.keep(Prefix(prompt.owner, marks, layers))
        except Exception as error:  # what is only kept to be quicker gives way
            if classify(error) != "oom":
                raise
            self.memory.clear()


class TorchReader(Reader):
    def begin(self, model: Any, prompt: Prompt, copies: int) -> TorchReading | None:
        """None where this model reads a prompt whole."""
        names = SEEING.get(model.config.model_type, ())
        if model.config.model_type not in TOGETHER or prompt.inputs.keys() - TEXT - set(names) or not sees_everything(model):
            return None
        ids = prompt.inputs["input_ids"][0]
        tiles = Tiles(prompt, names, model.config.image_token_id) if names and names[0] in prompt.inputs else None
        if tiles is not None and not tiles.fit:
            return None
        prompt.marks = marks = ids if tiles is None else tiles.marked(ids)
        return TorchReading(self, model, prompt, marks, tiles, copies)


def sees_everything(model: Any) -> bool:
    """No window slides over what was said."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


class TorchReading:
    """One prompt, as far as it is read. `cached`: its tokens that an earlier chat has read."""

    def __init__(
        self, reader: TorchReader, model: Any, prompt: Prompt, marks: torch.Tensor, tiles: Tiles | None, copies: int
    ) -> None:
        self.reader, self.prompt, self.tiles, self.copies = reader, prompt, tiles, copies
        known, shared = reader.memory.recall(prompt.owner, marks)
        self.cached = self.done = min(shared, prompt.length - 1)  # the last one has to be read: what comes behind it is asked
        room = prompt.length - self.done + SPARE
        if self.done:
            self.layers = [RoomyLayer(*(states[..., : self.done, :] for states in pair), room=room) for pair in known]
        else:
            self.layers = [RoomyLayer(room=room) for _ in DynamicCache(config=model.config).layers]

    @torch.inference_mode()
    def go_on(self, model: Any) -> torch.Tensor | None:
        """Read a piece; after the last one the rows are in the batch, and this gives (vocabulary,) float32 on the CPU.

        May be called again after it failed.
        """
        end = min(self.done + PIECE.get(model.device.type, LARGE_PIECE), self.prompt.length)
        for layer in self.layers:
            layer.cut(self.done)
        extra = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        output = model(
            **self.piece(model, self.done, end),
            **extra,
            attention_mask=torch.ones(1, end, dtype=torch.long, device=model.device),
            position_ids=torch.arange(self.done, end, device=model.device)[None],
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        )
        if end == self.prompt.length:
            self.reader.batch.take(model, Rows.read(self.layers, end, self.copies))
        self.done = end
        return output.logits[0, -1].float().cpu() if end == self.prompt.length else None

    def piece(self, model: Any, first: int, last: int) -> dict[str, torch.Tensor]:
        ids = self.prompt.inputs["input_ids"][:, first:last].to(model.device)
        if self.tiles is None:
            return {"input_ids": ids}
        embeddings = model.get_input_embeddings()(ids)
        shown = ids == self.tiles.token
        if shown.any():
            before = int((self.prompt.inputs["input_ids"][:, :first] == self.tiles.token).sum())
            features = self.tiles.features(model, before, before + int(shown.sum()), self.reader.memory, self.prompt.owner)
            embeddings[shown] = features.to(embeddings.dtype)
        return {"inputs_embeds": embeddings}


class Tiles:
    """The pictures of one prompt, tile by tile: `each` tokens of the prompt stand for one of them, in order."""

    def __init__(self, prompt: Prompt, names: tuple[str, ...], token: int) -> None:
        self.token, self.nested = token, prompt.inputs[names[0]].dim() == 5
        self.inputs = {
            name: prompt.inputs[name][0] if self.nested else prompt.inputs[name] for name in names if name in prompt.inputs
        }
        self.count = len(self.inputs[names[0]])
        self.each, rest = divmod(int((prompt.inputs["input_ids"] == token).sum()), self.count)
        self.fit = not rest and self.each > 0
        self.hashes = [self.hash_of(tile) for tile in range(self.count)]
        self.seen: dict[int, torch.Tensor] = {}

    def hash_of(self, tile: int) -> int:
        """Of everything that the model sees of it, and so of `detail`, too: 63 bits, below 0."""
        digest = hashlib.sha256()
        for value in self.inputs.values():
            digest.update(value[tile].contiguous().numpy().tobytes())
        return -(int.from_bytes(digest.digest()[:8], "big") >> 1) - 1

    def marked(self, ids: torch.Tensor) -> torch.Tensor:
        marks = ids.clone()
        marks[ids == self.token] = torch.tensor(self.hashes).repeat_interleave(self.each)
        return marks

    def features(self, model: Any, first: int, last: int, memory: Memory, owner: str) -> torch.Tensor:
        """(last - first, size): of the picture tokens from `first` on, counted over the whole prompt."""
        wanted = range(first // self.each, (last - 1) // self.each + 1)
        known = {tile: self.seen.get(tile, memory.pictures.get((owner, self.hashes[tile]))) for tile in wanted}
        missing = [tile for tile in wanted if known[tile] is None]
        if missing:
            for tile, features in zip(missing, self.look(model, missing), strict=True):
                known[tile] = features
                memory.pictures.put((owner, self.hashes[tile]), features.clone(), features.nbytes)
        self.seen = {wanted[-1]: known[wanted[-1]]}  # the next piece may begin in it
        return torch.cat([known[tile] for tile in wanted])[first - wanted[0] * self.each :][: last - first]

    def look(self, model: Any, tiles: list[int]) -> torch.Tensor:
        """(tiles, each, size)"""
        given = {name: place(value[tiles], model) for name, value in self.inputs.items()}
        if self.nested:
            given = {name: value[None] for name, value in given.items()}
        found = model.get_image_features(**given, return_dict=True).pooler_output
        return torch.cat(list(found)).view(len(tiles), self.each, -1)
