"""Which model is evicted from memory for another, and whether one has to be.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from api.catalog import Catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.loading.builders import builder_for
from api.loading.model_leases import LoadedModel


class Loader(Protocol):
    """The part of ModelLoader that is asked."""

    catalog: Catalog
    store: ModelStore
    device: Device
    memory_limit: int

    def loaded(self) -> list[dict[str, Any]]: ...

    def free_memory(self) -> int: ...


def next_evicted(models: Iterable[LoadedModel]) -> LoadedModel | None:
    """The one that was used least recently, of those that nothing uses."""
    return min((model for model in models if not model.pins), key=lambda model: model.last_used, default=None)


def fits_beside(loader: Loader, model_id: str, task: str, kept: Collection[str]) -> bool:
    """Whether `model_id` is in memory, or would fit into it while the models `kept` stay. True for one that is still to be fetched.

    Raises UnknownModel, DarkroomError (unsupported_task, 400).
    """
    entry, sizes = loader.catalog.get(model_id), {model["id"]: model["bytes"] for model in loader.loaded()}
    entry = loader.catalog.with_files(entry)
    folder = loader.store.folder(entry)
    builder = builder_for(entry, task)
    bases = [loader.store.folder(loader.catalog.get(entry.base))] if builder.takes_base and entry.base else []
    if entry.id in sizes or folder is None or None in bases:
        return True
    needed = builder.estimate(entry, folder, loader.device, *bases)
    staying = sum(size for name, size in sizes.items() if name in kept)
    evictable = sum(sizes.values()) - staying
    return staying + needed <= loader.memory_limit and needed <= loader.free_memory() + evictable
