"""A loaded model, and the lease that a thread has on it.  [torch; no Django]"""

from __future__ import annotations

import copy
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device, dtype_name
from api.loading.builders import Builder
from api.loading.device_memory import DENOISERS, apply_measure, dtypes_of, offload, undo_measure
from api.loading.file_states import FileStates, have_changed


class ModelCache(Protocol):
    """What the code that uses a model keeps with it, to be quicker the next time."""

    @property
    def cache_bytes(self) -> int: ...

    def clear_cache(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """JSON for the status."""


@dataclass(frozen=True)
class DenoiserOptions:
    """How the denoisers of pictures run (IMAGE_GRAPHS: graphs on CUDA, traces on a CPU; IMAGE_COMPILE)."""

    graphs: bool = True
    compile_blocks: bool = False


USUAL = DenoiserOptions()


@dataclass
class LoadedModel:
    """A model in memory."""

    entry: ModelEntry
    builder: Builder
    loaded: Any
    measures: list[str]
    """Memory measures that last as long as the model is loaded: forced by setting, or needed to load it."""
    load_seconds: float
    size: int
    """Bytes of weights on the device, measured."""
    process_bytes: int
    """Growth of the process (or of CUDA's allocations) while it was loaded."""
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    """By module name, when it was loaded."""
    files: FileStates = field(default_factory=dict)
    """What it was loaded from, where that is an owner's files: they may change."""
    pipelines: dict[str, Any] = field(default_factory=dict)
    pins: int = 0
    last_used: float = field(default_factory=time.time)
    in_use: threading.RLock = field(default_factory=threading.RLock)
    options: DenoiserOptions = USUAL
    caches: dict[str, ModelCache] = field(default_factory=dict)
    """By the name that they have in the status; beside that of the model itself, if it has one."""

    @property
    def cache_bytes(self) -> int:
        """Bytes of the model's optional caches."""
        return int(getattr(self.loaded, "cache_bytes", 0)) + self.reserved_bytes

    @property
    def reserved_bytes(self) -> int:
        """Of its caches on the device (`caches`)."""
        return sum(cache.cache_bytes for cache in list(self.caches.values()))

    def clear_cache(self) -> bool:
        """Free the optional caches. False when there are none."""
        had_some = self.cache_bytes > 0
        own = [self.loaded] if hasattr(self.loaded, "clear_cache") else []
        for cache in [*own, *self.caches.values()]:
            cache.clear_cache()
        return had_some

    def describe(self) -> dict[str, Any]:
        """JSON of what it is and takes."""
        return {
            "id": self.entry.id,
            "bytes": self.size,
            "process_bytes": self.process_bytes,
            "spare_bytes": self.cache_bytes,
            "pinned": self.pins > 0,
            "last_used": self.last_used,
            "measures": list(self.measures),
            "dtypes": {name: dtype_name(dtype) for name, dtype in self.dtypes.items()},
            "load_seconds": round(self.load_seconds, 3),
            **{name: cache.describe() for name, cache in list(self.caches.items())},
        }

    @property
    def has_changed_files(self) -> bool:
        return have_changed(self.files)

    def is_outdated(self, entry: ModelEntry) -> bool:
        """Whether `entry` would be loaded otherwise now."""
        return self.entry != entry or self.has_changed_files

    def pipeline_for(self, task: str) -> Any:
        if task not in self.pipelines:
            self.pipelines[task] = self.builder.pipeline_for(self.loaded, task)
        return self.pipelines[task]


@dataclass
class Lease:
    """A pinned model, used by one thread exclusively."""

    entry: ModelEntry
    device: Device
    task: str
    load_seconds: float
    """Seconds that loading took for this lease; 0.0 when the model was in memory."""
    loaded_model: LoadedModel
    notes: list[str] = field(default_factory=list)
    """Sentences about memory measures, for the job's warnings."""
    temporary_measures: list[str] = field(default_factory=list)

    @property
    def pipeline(self) -> Any:
        return self.loaded_model.pipeline_for(self.task)

    @property
    def measures(self) -> list[str]:
        """Names of the active memory measures."""
        return [*self.loaded_model.measures, *self.temporary_measures]

    @property
    def dtype(self) -> torch.dtype:
        """Of a single model, or of a pipeline's denoiser."""
        dtypes = dtypes_of(self.loaded_model.loaded)
        return next((dtypes[name] for name in (*DENOISERS, *dtypes) if name in dtypes), self.device.dtype)

    def pipeline_with(self, task: str = "", **components: Any) -> Any:
        """The pipeline of `task` (the lease's own by default) with some components (a scheduler, say) replaced; the weights are
        shared. Raises DarkroomError (unsupported_task, 400).
        """
        pipeline = copy.copy(self.loaded_model.pipeline_for(task or self.task))
        pipeline.register_modules(**components)
        return pipeline

    def apply_temporary_measure(self, name: str) -> bool:
        """Apply a measure until the lease ends. False if it does not apply or is active already."""
        if name in self.measures or not apply_measure(name, self.loaded_model.loaded, self.device):
            return False
        self.temporary_measures.append(name)
        self.loaded_model.pipelines.clear()
        return True

    def release_measures(self) -> None:
        """End the lease's measures. Offloading ends last: only that can run out of memory."""
        temporary_measures, self.temporary_measures = sorted(self.temporary_measures, key="cpu_offload".__eq__), []
        self.loaded_model.pipelines.clear()
        for name in temporary_measures:
            undo_measure(name, self.loaded_model.loaded, self.device)

    def restore_offload(self) -> None:
        """Reset the offload hooks: an out-of-memory error can leave a component half moved."""
        if "cpu_offload" in self.measures:
            offload(self.loaded_model.loaded, self.device)
            self.loaded_model.pipelines.clear()


class Loader(Protocol):
    """The part of ModelLoader that `LoadedModelsOnly` uses."""

    catalog: Catalog
    device: Device

    @property
    def retry_on_oom(self) -> Any: ...

    def use(self, model_id: str, task: str, on_progress: Any = None, *, load: bool = True) -> AbstractContextManager[Lease]: ...


class LoadedModelsOnly:
    """The loader for threads other than the main one: leases loaded models, and raises DarkroomError (not_loaded) otherwise.

    It never builds a model, because construction patches torch process-wide while the main thread computes.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.catalog, self.device, self.retry_on_oom = loader.catalog, loader.device, loader.retry_on_oom

    def use(self, model_id: str, task: str, on_progress: Any = None) -> AbstractContextManager[Lease]:
        return self._loader.use(model_id, task, on_progress, load=False)
