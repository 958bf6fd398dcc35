"""Where a catalog finds entries that no TOML table has: the library of files, asked at each look-up."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from api.catalog.entries import AdapterEntry, EmbeddingEntry, ModelEntry

PartKind = Literal["VAE", "text encoder"]


class EntrySource(Protocol):
    """Names are ids or aliases. The `find_…` methods raise AmbiguousModel (…Adapter, …Embedding, …Part) for a name that several have."""

    def find_model(self, name: str) -> ModelEntry | None: ...

    def find_adapter(self, name: str) -> AdapterEntry | None: ...

    def find_embedding(self, name: str) -> EmbeddingEntry | None: ...

    def find_part(self, kind: PartKind, name: str) -> Path | None: ...

    def models(self, task: str) -> list[ModelEntry]: ...

    def adapters(self, family: str) -> list[AdapterEntry]: ...

    def embeddings(self, family: str) -> list[EmbeddingEntry]: ...

    def why_not(self, name: str) -> str:
        """A sentence about a file that is there and can't be used; "" where there is none of that name."""
        ...

    def similar(self, kind: str, name: str) -> list[str]:
        """Up to three ids of the kind "model", "adapter", "embedding", "VAE" or "text encoder" that begin like this name."""
        ...
