"""The prompt cache of one model: KV caches of finished conversations (prefixes) and image features. Both are LRU, limited in bytes.

It is freed with its model, and on the first out-of-memory error. Entries are never shared between owners: response times would tell
one owner what another has asked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values, each (1, heads, tokens, size)."""


@dataclass(frozen=True)
class CacheLimits:
    """In bytes; 0 keeps nothing."""

    prefixes: int = 0
    image_features: int = 0


@dataclass(frozen=True)
class CachedPrefix:
    """The KV cache of a token sequence. `token_keys`: (tokens,) int64, the token id, or for image tokens a negative hash of the tile."""

    owner: str
    token_keys: torch.Tensor
    layers: Layers

    @property
    def nbytes(self) -> int:
        return sum(states.nbytes for layer in self.layers for states in layer)

    def shared(self, token_keys: torch.Tensor) -> int:
        """The length of the common prefix, in tokens."""
        size = min(len(token_keys), len(self.token_keys))
        return int((token_keys[:size] == self.token_keys[:size]).cumprod(0).sum())


class ByteLimitedLRU:
    """Least-recently-used cache of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self.entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: object) -> Any:
        if key not in self.entries:
            return None
        self.entries.move_to_end(key)
        return self.entries[key][0]

    def put(self, key: object, value: object, size: int) -> None:
        self.remove(key)
        if size > self.limit:
            return
        self.entries[key] = value, size
        self.bytes += size
        while self.bytes > self.limit:
            self.remove(next(iter(self.entries)))

    def remove(self, key: object) -> None:
        if key in self.entries:
            self.bytes -= self.entries.pop(key)[1]

    def clear(self) -> None:
        self.entries.clear()
        self.bytes = 0


class PromptCache:
    """The prefixes and image features of one model."""

    def __init__(self, limits: CacheLimits) -> None:
        self.prefixes, self.image_features = ByteLimitedLRU(limits.prefixes), ByteLimitedLRU(limits.image_features)

    @property
    def nbytes(self) -> int:
        return self.prefixes.bytes + self.image_features.bytes

    def clear(self) -> None:
        self.prefixes.clear()
        self.image_features.clear()

    def longest_match(self, owner: str, token_keys: torch.Tensor) -> tuple[Layers, int]:
        """The KV cache with the longest common prefix among this owner's entries, and that length in tokens; ([], 0) for none."""
        own = [(key, prefix.shared(token_keys)) for key, (prefix, _) in self.prefixes.entries.items() if prefix.owner == owner]
        key, shared = max(own, key=lambda found: found[1], default=(None, 0))
        if not shared:
            return [], 0
        return self.prefixes.get(key).layers, shared

    def add(self, prefix: CachedPrefix) -> None:
        """Store a copy, and drop entries that are prefixes of it."""
        if not 0 < prefix.nbytes <= self.prefixes.limit:
            return
        for key, (known, _) in list(self.prefixes.entries.items()):
            if known.owner == prefix.owner and known.shared(prefix.token_keys) == len(known.token_keys):
                self.prefixes.remove(key)
        layers = [(keys.clone(), values.clone()) for keys, values in prefix.layers]
        self.prefixes.put(object(), CachedPrefix(prefix.owner, prefix.token_keys, layers), prefix.nbytes)
