"""What is kept of chats that have ended, so that going on with one is quick: caches of what was read, and pictures' features.

Both are bounded in bytes; the least recently used goes first. They are the model's own and go with it, and with the first shortage of
memory. Nothing passes from one owner to another, who could tell by the time it takes what others have asked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values, each (1, heads, tokens, size)."""


@dataclass(frozen=True)
class Limits:
    """In bytes; 0 keeps nothing."""

    prefixes: int = 0
    pictures: int = 0


@dataclass(frozen=True)
class Prefix:
    """What a model has read and written. `marks`: (tokens,) int64, a token's id; in a picture's place a hash of that picture, below 0."""

    owner: str
    marks: torch.Tensor
    layers: Layers

    @property
    def nbytes(self) -> int:
        return sum(states.nbytes for layer in self.layers for states in layer)

    def shared(self, marks: torch.Tensor) -> int:
        """Tokens that both begin with."""
        size = min(len(marks), len(self.marks))
        return int((marks[:size] == self.marks[:size]).cumprod(0).sum())


class Shelf:
    """Things by key, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self.things: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> Any:
        if key not in self.things:
            return None
        self.things.move_to_end(key)
        return self.things[key][0]

    def put(self, key: Any, thing: Any, size: int) -> None:
        self.remove(key)
        if size > self.limit:
            return
        self.things[key] = thing, size
        self.bytes += size
        while self.bytes > self.limit:
            self.remove(next(iter(self.things)))

    def remove(self, key: Any) -> None:
        if key in self.things:
            self.bytes -= self.things.pop(key)[1]

    def clear(self) -> None:
        self.things.clear()
        self.bytes = 0


class Memory:
    """Of one model."""

    def __init__(self, limits: Limits) -> None:
        self.prefixes, self.pictures = Shelf(limits.prefixes), Shelf(limits.pictures)

    @property
    def nbytes(self) -> int:
        return self.prefixes.bytes + self.pictures.bytes

    def clear(self) -> None:
        self.prefixes.clear()
        self.pictures.clear()

    def recall(self, owner: str, marks: torch.Tensor) -> tuple[Layers, int]:
        """The caches of the longest beginning of `marks` that this owner's chats have had, and its tokens; ([], 0) for none."""
        own = [(key, prefix.shared(marks)) for key, (prefix, _) in self.prefixes.things.items() if prefix.owner == owner]
        key, shared = max(own, key=lambda found: found[1], default=(None, 0))
        if not shared:
            return [], 0
        return self.prefixes.get(key).layers, shared

    def keep(self, prefix: Prefix) -> None:
        """A copy of it. What it begins with need not be kept apart from it."""
        if not 0 < prefix.nbytes <= self.prefixes.limit:
            return
        for key, (known, _) in list(self.prefixes.things.items()):
            if known.owner == prefix.owner and known.shared(prefix.marks) == len(known.marks):
                self.prefixes.remove(key)
        layers = [(keys.clone(), values.clone()) for keys, values in prefix.layers]
        self.prefixes.put(object(), Prefix(prefix.owner, prefix.marks, layers), prefix.nbytes)
