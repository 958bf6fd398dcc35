"""A model in memory, and a thread's hold on it.  [torch; no Django]"""

from __future__ import annotations

import copy
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.loading.builders import Builder
from api.loading.memory import DENOISERS, apply_measure, dtypes_of, offload, undo_measure


@dataclass
class Slot:
    """A model in memory."""

    entry: ModelEntry
    builder: Builder
    loaded: Any
    measures: list[str]
    """Those that stay for as long as the model is loaded: forced by setting, or needed to load it at all."""
    load_seconds: float
    size: int
    """Bytes of weights on the device, measured."""
    process_bytes: int
    """By how much the process (or CUDA's allocations) grew while it was loaded."""
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    """Of its modules by name, as it was loaded."""
    views: dict[str, Any] = field(default_factory=dict)
    pins: int = 0
    last_used: float = field(default_factory=time.time)
    in_use: threading.RLock = field(default_factory=threading.RLock)

    @property
    def spare_bytes(self) -> int:
        """What the model keeps beside its weights to be quicker."""
        return int(getattr(self.loaded, "spare_bytes", 0))

    def forget(self) -> bool:
        """Let go of that. False where there is nothing."""
        if not self.spare_bytes:
            return False
        self.loaded.forget()
        return True

    def view(self, task: str) -> Any:
        if task not in self.views:
            self.views[task] = self.builder.view(self.loaded, task)
        return self.views[task]


@dataclass
class Lease:
    """A model that is pinned and used by this thread alone."""

    entry: ModelEntry
    device: Device
    task: str
    load_seconds: float
    """What loading took for this lease; 0.0 when the model was warm."""
    slot: Slot
    notes: list[str] = field(default_factory=list)
    """What was done against a shortage of memory, in words."""
    taken: list[str] = field(default_factory=list)

    @property
    def pipeline(self) -> Any:
        return self.slot.view(self.task)

    @property
    def measures(self) -> list[str]:
        """Names of the memory measures in force."""
        return [*self.slot.measures, *self.taken]

    @property
    def dtype(self) -> torch.dtype:
        """Of a single model, or of a pipeline's denoiser."""
        dtypes = dtypes_of(self.slot.loaded)
        return next((dtypes[name] for name in (*DENOISERS, *dtypes) if name in dtypes), self.device.dtype)

    def pipeline_with(self, **components: Any) -> Any:
        """The pipeline with some components (a scheduler, say) replaced for one call; the weights are shared."""
        pipeline = copy.copy(self.pipeline)
        pipeline.register_modules(**components)
        return pipeline

    def take_measure(self, name: str) -> bool:
        """Turn a measure on until the lease ends. False where it does not apply or is in force."""
        if name in self.measures or not apply_measure(name, self.slot.loaded, self.device):
            return False
        self.taken.append(name)
        self.slot.views.clear()
        return True

    def release_measures(self) -> None:
        """Offloading ends last: it alone can run out of memory."""
        taken, self.taken = sorted(self.taken, key="cpu_offload".__eq__), []
        self.slot.views.clear()
        for name in taken:
            undo_measure(name, self.slot.loaded, self.device)

    def restore_offload(self) -> None:
        """After a shortage: where parts are offloaded, none is left half moved."""
        if "cpu_offload" in self.measures:
            offload(self.slot.loaded, self.device)
            self.slot.views.clear()


class Loader(Protocol):
    """What `OnlyLoaded` asks of a ModelLoader."""

    catalog: Catalog
    device: Device

    @property
    def ladder(self) -> Any: ...

    def use(self, model_id: str, task: str, on_progress: Any = None, *, load: bool = True) -> AbstractContextManager[Lease]: ...


class OnlyLoaded:
    """A loader for a thread beside the one that runs models: it lends what is in memory, and else raises DarkroomError (not_loaded).

    It never builds a model, since that patches torch process-wide while the other thread computes.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.catalog, self.device, self.ladder = loader.catalog, loader.device, loader.ladder

    def use(self, model_id: str, task: str, on_progress: Any = None) -> AbstractContextManager[Lease]:
        return self._loader.use(model_id, task, on_progress, load=False)
