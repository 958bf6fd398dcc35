"""Owns every model in memory: load, pin, share, evict, retry on out of memory.  [torch; no Django]

    loader = get_loader()                                   # after configure(...) once in the worker
    with loader.use("sdxl-base-1.0", "image-to-image", on_progress) as lease:
        images = []
        for attempt in loader.retry_on_oom(lease, batch_size=len(requests)):
            with attempt:                                   # swallows out of memory, and the loop tries again
                while len(images) < len(requests):
                    chunk = requests[len(images):len(images) + attempt.batch_size]
                    images += run(lease.pipeline, chunk)    # at most attempt.batch_size pictures in one call
        for note in lease.notes:
            hooks.warn(note)

The body of `with attempt` runs again after each memory measure until it ends without running out of memory, so finished results
(`images` above) are kept outside it. `attempt.batch_size` never grows. When no measure is left, `OutOfMemory` (code
"out_of_memory") is raised. A CUDA error other than out of memory becomes `DeviceFault`, after which the process must exit. Other
exceptions pass through. `lease.notes` says what was done, for the job's warnings. Measures applied during a lease end with it.

`lease.pipeline` is what the task's builder returned (api/loading/builders.py). For "text-to-image", "image-to-image" and "inpainting":
a diffusers pipeline of the task, over one set of components. Never change `pipeline.scheduler`: make one per call, and
`lease.pipeline_with(scheduler=...)` gives a pipeline of the same components with those replaced. For
"zero-shot-image-classification": a `Clip` with `model`, `processor` and `tokenizer` (api/loading/clip.py).

Thread rules: loading is exclusive (construction patches torch process-wide). A pinned model is never evicted. One thread at a time
uses a model; `use` blocks until it is free. `loaded()` never blocks, so a heartbeat may call it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from api.catalog import AdapterEntry, Catalog, ModelEntry, UnknownEntry
from api.catalog.storages import STORAGE_MEASURES, measure_of
from api.devices import Device
from api.downloads.snapshots import inspect_snapshot
from api.downloads.store import ModelStore
from api.errors import DarkroomError, DeviceFault
from api.json_types import JsonObject
from api.loading.builders import Builder, builder_for, register_builder
from api.loading.building import Building
from api.loading.device_memory import (
    MEASURES,
    OutOfMemory,
    classify_error,
    dtypes_of,
    loading_error_of,
    readable_size,
    size_on_device,
    translate_device_errors,
)
from api.loading.download_progress import DOWNLOAD_SHARE, Progress, download_progress
from api.loading.eviction import next_evicted
from api.loading.file_states import owned_places, read_states
from api.loading.lease_notes import notes_on
from api.loading.model_leases import USUAL, DenoiserOptions, Lease, LoadedModel
from api.loading.oom_retry import SMALLER_BATCHES, OomRetry
from api.metric_definitions import evictions, load_seconds

__all__ = [
    "MEASURES",
    "Builder",
    "DenoiserOptions",
    "DeviceFault",
    "Lease",
    "ModelBusy",
    "ModelLoader",
    "OutOfMemory",
    "classify_error",
    "configure",
    "get_loader",
    "register_builder",
]

logger = logging.getLogger("darkroom.models")

USABLE = {"cuda": 0.92, "mps": 0.7, "cpu": 0.7}
"""By device type: the share of the device's memory that weights may take without MODEL_MEMORY_LIMIT."""


class ModelBusy(DarkroomError):
    def __init__(self, model_id: str) -> None:
        super().__init__("model_busy", 409, f"{model_id} is in use.")


class ModelLoader:
    """See the module's docstring. `memory_limit` is in bytes of weights; None takes a share of the device's memory."""

    def __init__(
        self,
        catalog: Catalog,
        store: ModelStore,
        device: Device,
        memory_limit: int | None = None,
        forced_measures: frozenset[str] = frozenset(),
        denoiser_options: DenoiserOptions = USUAL,
        forbidden_measures: frozenset[str] = frozenset(),
    ) -> None:
        unknown = (forced_measures | forbidden_measures) - MEASURES.keys()
        if unknown:
            raise ValueError(f"Unknown memory measure {min(unknown)}; there are {', '.join(MEASURES)}.")
        self.catalog, self.store, self.device, self.forced_measures = catalog, store, device, forced_measures
        self.denoiser_options, self.forbidden_measures = denoiser_options, forbidden_measures
        self.memory_limit = memory_limit or int(device.memory_total * USABLE[device.type])
        self._models: dict[str, LoadedModel] = {}
        self._table_lock = threading.Lock()  # guards _models; held briefly
        self._loading_lock = threading.Lock()  # held while a model is loaded or unloaded

    # -- Use -----------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def use(self, model_id: str, task: str, on_progress: Progress | None = None, *, load: bool = True) -> Iterator[Lease]:
        """Pin a model, loading it first if needed; without `load` one that is not in memory is an error (not_loaded).

        Raises UnknownModel, DarkroomError (codes unsupported_task, damaged, broken_model, missing_package,
        out_of_memory) and, when the device failed, DeviceFault.
        """
        entry = self.catalog.get(model_id)
        builder = builder_for(entry, task)
        started = time.perf_counter()
        with translate_device_errors(entry, self.device):
            loaded_model, loaded_now = self._pin(entry, builder, on_progress, load)
            try:
                with loaded_model.in_use:
                    loaded_model.pipeline_for(task)
                    lease = Lease(entry, self.device, task, time.perf_counter() - started if loaded_now else 0.0, loaded_model)
                    lease.notes += notes_on(loaded_model, entry, self.device, self._asked_measures(entry))
                    try:
                        yield lease
                    except Exception as error:
                        if classify_error(error) == "oom":
                            lease.restore_offload()
                        raise
                    finally:
                        self._end_lease(lease)
            finally:
                with self._table_lock:
                    loaded_model.pins -= 1
                    loaded_model.last_used = time.time()

    def retry_on_oom(self, lease: Lease, *, batch_size: int, smaller: str = SMALLER_BATCHES) -> OomRetry:
        """Attempts that apply one memory measure after each out-of-memory error; see the module's docstring.

        `smaller`: how people are told of a `batch_size` that was halved, where it counts something else than pictures.
        """
        return OomRetry(lease, batch_size, self._evict_unpinned, smaller, self.forbidden_measures)

    def adapter(self, adapter_id: str, on_progress: Progress | None = None) -> tuple[AdapterEntry, Path]:
        """An adapter's entry and its safetensors file, fetched if needed. Raises UnknownAdapter, DarkroomError."""
        entry = self.catalog.adapter(adapter_id)
        return entry, self.store.adapter_file(entry) or self.store.fetch_adapter(
            entry, download_progress(entry.name, on_progress)
        )

    # -- Load, unload, list --------------------------------------------------------------------------------------------------

    def load(self, model_id: str, on_progress: Progress | None = None) -> None:
        """Load a model before it is needed. It can be evicted like any other."""
        entry = self.catalog.get(model_id)
        with self.use(model_id, entry.task, on_progress):
            pass

    def unload(self, model_id: str) -> bool:
        """Unload a model and its variants (`id@…`). False when it was not loaded. Raises ModelBusy while it is in use."""
        entry = self.catalog.get(model_id)
        with self._loading_lock, self._table_lock:
            mine = [name for name in self._models if name == entry.id or name.startswith(f"{entry.id}@")]
            if any(self._models[name].pins for name in mine):
                raise ModelBusy(entry.id)
            for name in mine:
                self._unload(name)
        return bool(mine)

    def loaded(self) -> list[JsonObject]:
        """JSON of the models in memory, the most recently used first. Never blocks."""
        with self._table_lock:
            models = sorted(self._models.values(), key=lambda loaded_model: loaded_model.last_used, reverse=True)
            return [loaded_model.describe() for loaded_model in models]

    def free_memory(self) -> int:
        """Bytes that can be allocated now; what the models' CUDA graphs reserve is nobody else's, though the device counts it as free."""
        with self._table_lock:
            return self.device.free_memory() - sum(loaded_model.reserved_bytes for loaded_model in self._models.values())

    def make_room(self, needed: int) -> bool:
        """Evict unpinned models, least recently used first, until `needed` bytes fit.

        False when they can't fit; nothing is evicted when pinned models alone exceed the limit.
        """
        with self._table_lock:
            pinned = sum(loaded_model.size for loaded_model in self._models.values() if loaded_model.pins)
        if pinned + needed > self.memory_limit:
            return False
        if not self._fits(needed):
            self._release_idle_caches()
        while not self._fits(needed):
            if not self._evict_one():
                return False
        return True

    # -- Inside --------------------------------------------------------------------------------------------------------------

    def _pin(self, entry: ModelEntry, builder: Builder, on_progress: Progress | None, load: bool) -> tuple[LoadedModel, bool]:
        with self._loading_lock:
            with self._table_lock:
                loaded_model = self._models.get(entry.id)
                if loaded_model is not None and load and not loaded_model.pins and loaded_model.is_outdated(entry):
                    logger.info("the files of %s have changed: it is loaded again", entry.id)
                    loaded_model = None
                    self._unload(entry.id)
                if loaded_model is not None:
                    loaded_model.pins += 1
                    return loaded_model, False
            if not load:
                raise DarkroomError("not_loaded", 503, f"{entry.name} is not in memory.")
            loaded_model = self._load(entry, builder, on_progress or (lambda fraction, text: None))
            loaded_model.pins = 1
            with self._table_lock:
                self._models[entry.id] = loaded_model
        return loaded_model, True

    def _load(self, entry: ModelEntry, builder: Builder, on_progress: Progress) -> LoadedModel:
        asked, entry = entry, self._with_files(entry)
        folder = self._folder(entry, on_progress)
        bases = [self._folder(self.catalog.get(entry.base), on_progress)] if builder.takes_base and entry.base else []
        on_progress(DOWNLOAD_SHARE, f"Loading {entry.name}")
        started, before = time.perf_counter(), self.device.used_memory()
        files = read_states(owned_places(entry, folder, *bases))
        loaded, measures = self._build(entry, builder, folder, *bases)
        loaded_model = LoadedModel(
            entry=asked,
            files=files,
            builder=builder,
            loaded=loaded,
            measures=measures,
            dtypes=dtypes_of(loaded),
            load_seconds=time.perf_counter() - started,
            size=size_on_device(loaded, measures),
            process_bytes=max(0, self.device.used_memory() - before),
            options=self.denoiser_options,
        )
        load_seconds.observe(loaded_model.load_seconds, entry.id)
        on_progress(1.0, f"{entry.name} is loaded")
        logger.info("loaded %s: %s of weights in %.1f s", entry.id, readable_size(loaded_model.size), loaded_model.load_seconds)
        return loaded_model

    def _with_files(self, entry: ModelEntry) -> ModelEntry:
        try:
            return self.catalog.with_files(entry)
        except UnknownEntry as error:
            raise DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: {error.detail}") from error

    def _folder(self, entry: ModelEntry, on_progress: Progress) -> Path:
        """The model's folder, fetched if needed and checked for unsafe files."""
        folder = self.store.folder(entry) or self.store.fetch(entry, download_progress(entry.name, on_progress))
        inspect_snapshot(folder, entry.name)
        return folder

    def _build(self, entry: ModelEntry, builder: Builder, folder: Path, *bases: Path) -> tuple[Any, list[str]]:
        """In the device's memory, with the measures that this took."""
        building = Building(
            entry=entry,
            device=self.device,
            memory_limit=self.memory_limit,
            asked=self._asked_measures(entry),
            forbidden=self.forbidden_measures,
            build=lambda: self._build_or_retry(entry, lambda: builder.build(entry, folder, self.device, *bases)),
            make_room=self.make_room,
            too_large=lambda needed: self._too_large(entry, needed),
        )
        return building.run(builder.estimate(entry, folder, self.device, *bases))

    def _asked_measures(self, entry: ModelEntry) -> frozenset[str]:
        """By the server's setting, and by the entry, whose own `storage` counts before the setting's."""
        if not entry.storage:
            return self.forced_measures
        return (self.forced_measures - STORAGE_MEASURES.keys()) | {measure_of(entry.storage)}

    def _build_or_retry(self, entry: ModelEntry, build: Callable[[], object]) -> Any:
        """Build; after out of memory, evict every unpinned model and build again. Other errors become DarkroomError (broken_model)."""
        try:
            return build()
        except DarkroomError:
            raise
        except Exception as error:
            kind = classify_error(error)
            if kind == "fault":
                raise
            if kind == "error":
                logger.exception("could not load %s", entry.id)
                raise loading_error_of(error, entry.name) from error
        self._evict_unpinned()
        try:
            return build()
        except Exception as error:
            if classify_error(error) == "oom":
                raise self._too_large(entry, 0) from error
            raise

    def _too_large(self, entry: ModelEntry, needed: int) -> OutOfMemory:
        need, limit = readable_size(needed or entry.memory), readable_size(self.memory_limit)
        in_use_bytes = readable_size(sum(loaded_model.size for loaded_model in self._models.values()))
        free = readable_size(self.free_memory())
        return OutOfMemory(
            f"{entry.name} needs {need} of memory; models may take {limit}, {in_use_bytes} are in use, "
            f"and the {self.device.type} device has {free} free."
        )

    def _fits(self, needed: int) -> bool:
        with self._table_lock:
            held = sum(loaded_model.size for loaded_model in self._models.values())
        return held + needed <= self.memory_limit and needed <= self.free_memory()

    def _release_idle_caches(self) -> None:
        """Free the caches of unpinned models (prompt caches) before a model is evicted."""
        with self._table_lock:
            released = [
                loaded_model.entry.id
                for loaded_model in self._models.values()
                if not loaded_model.pins and loaded_model.clear_cache()
            ]
        if released:
            gc.collect()
            self.device.empty_cache()

    def _evict_one(self) -> str | None:
        with self._table_lock:
            evicted = next_evicted(self._models.values())
            if evicted is None:
                return None
            model_id = evicted.entry.id
            del evicted  # its memory is to be freed
            self._unload(model_id)
        evictions.add(model_id)
        logger.info("evicted %s", model_id)
        return model_id

    def _evict_unpinned(self) -> list[str]:
        evicted = []
        while (model_id := self._evict_one()) is not None:
            evicted.append(model_id)
        return evicted

    def _unload(self, model_id: str) -> None:
        """Free a model's memory. The caller holds `_table_lock` and knows that the model is not pinned."""
        loaded_model = self._models.pop(model_id)
        loaded_model.pipelines.clear()
        loaded_model.caches.clear()
        if loaded_model.measures and hasattr(loaded_model.loaded, "remove_all_hooks"):
            loaded_model.loaded.remove_all_hooks()
        loaded_model.loaded = None
        del loaded_model
        gc.collect()
        self.device.empty_cache()

    def _end_lease(self, lease: Lease) -> None:
        """End the lease's own measures. A model that no longer fits the device is removed and reloaded at its next use; a thread that
        waits for it already gets it offloaded."""
        try:
            lease.release_measures()
        except Exception as error:
            if classify_error(error) != "oom":
                raise
            lease.loaded_model.measures.append("cpu_offload")
            lease.restore_offload()
            with self._table_lock:
                self._models.pop(lease.entry.id, None)


_loader: ModelLoader | None = None


def configure(
    catalog: Catalog,
    store: ModelStore,
    device: Device,
    memory_limit: int | None = None,
    forced_measures: frozenset[str] = frozenset(),
    denoiser_options: DenoiserOptions = USUAL,
    forbidden_measures: frozenset[str] = frozenset(),
) -> ModelLoader:
    """Create the worker's loader."""
    global _loader
    _loader = ModelLoader(catalog, store, device, memory_limit, forced_measures, denoiser_options, forbidden_measures)
    return _loader


def get_loader() -> ModelLoader:
    """The worker's loader. Raises RuntimeError before `configure`."""
    if _loader is None:
        raise RuntimeError("model_loader.configure(...) has not been called in this process.")
    return _loader
