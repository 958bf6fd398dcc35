"""The one owner of every model in memory: load, pin, share, evict, recover.  [torch; no Django]

    loader = get_loader()                                   # after configure(...) once in the worker
    with loader.use("sdxl-base-1.0", "image-to-image", on_progress) as lease:
        images = []
        for attempt in loader.ladder(lease, batch_size=len(requests)):
            with attempt:                                   # swallows out of memory, and the loop tries again
                while len(images) < len(requests):
                    chunk = requests[len(images):len(images) + attempt.batch_size]
                    images += run(lease.pipeline, chunk)    # at most attempt.batch_size pictures in one call
        for note in lease.notes:
            hooks.warn(note)

The body of `with attempt` is run again after each rung of the ladder until it ends without running out of memory, so what is
already done (`images` above) lives outside it. `attempt.batch_size` only ever falls. When no rung is left, `OutOfMemory`
(code "out_of_memory") is raised; any other exception passes through; a CUDA error that is no shortage of memory becomes
`DeviceFault`, after which the process must end itself. What was done stands in words in `lease.notes`, for the job's warnings.
A lease's own measures end with the lease, so one large picture does not slow down all that follow.

`lease.pipeline` is what the task's builder made (api/loading/builders.py). For "text-to-image", "image-to-image" and "inpainting":
a diffusers pipeline of the task, over one set of components. Never change `pipeline.scheduler`: make one per call, and
`lease.pipeline_with(scheduler=...)` gives a pipeline of the same components with those replaced. For
"zero-shot-image-classification": a `Clip` with `model`, `processor` and `tokenizer` (api/loading/clip.py).

Rules: loading is exclusive (construction patches torch process-wide). A model is never evicted while it is pinned. A pipeline
is never run by two threads: a second one that wants the same model waits. `loaded()` never waits, so a heartbeat may call it.
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

from api.catalog import AdapterEntry, Catalog, ModelEntry
from api.devices import Device, dtype_name
from api.downloads.snapshots import inspect_snapshot
from api.downloads.store import ModelStore
from api.errors import DarkroomError, DeviceFault
from api.loading.builders import Builder, builder_for, register_builder
from api.loading.ladder import Ladder
from api.loading.leases import Lease, Slot
from api.loading.memory import (
    MEASURES,
    OutOfMemory,
    apply_measure,
    broken_by,
    classify,
    dtypes_of,
    modules_of,
    named_errors,
    readable_size,
    size_on_device,
)

__all__ = [
    "MEASURES",
    "Builder",
    "DeviceFault",
    "Lease",
    "ModelBusy",
    "ModelLoader",
    "OutOfMemory",
    "classify",
    "configure",
    "get_loader",
    "register_builder",
]

logger = logging.getLogger("darkroom.models")

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and what is being done."""

DOWNLOAD_SHARE = 0.9
"""The part of a progress bar that a download takes, when there is one."""
USABLE = {"cuda": 0.92, "mps": 0.7, "cpu": 0.7}
"""Without MODEL_MEMORY_LIMIT: the part of the device's memory that weights may take."""

SLOW_FP32 = "{device} has no fast half precision: models run in float32, slowly and with twice the memory."


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
        forced: frozenset[str] = frozenset(),
    ) -> None:
        unknown = forced - MEASURES.keys()
        if unknown:
            raise ValueError(f"Unknown memory measure {min(unknown)}; there are {', '.join(MEASURES)}.")
        self.catalog, self.store, self.device, self.forced = catalog, store, device, forced
        self.memory_limit = memory_limit or int(device.memory_total * USABLE[device.type])
        self._slots: dict[str, Slot] = {}
        self._state = threading.Lock()  # for the table of slots, held for moments
        self._loading = threading.Lock()  # held while a model is loaded or unloaded

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
        with named_errors(entry, self.device):
            slot, loaded_now = self._pin(entry, builder, on_progress, load)
            try:
                with slot.in_use:
                    slot.view(task)
                    lease = Lease(entry, self.device, task, time.perf_counter() - started if loaded_now else 0.0, slot)
                    lease.notes += [MEASURES[name] for name in slot.measures if name not in self.forced]
                    if self.device.runs_in_slow_fp32:
                        lease.notes.append(SLOW_FP32.format(device=self.device.name))
                    try:
                        yield lease
                    except Exception as error:
                        if classify(error) == "oom":
                            lease.restore_offload()
                        raise
                    finally:
                        self._settle(lease)
            finally:
                with self._state:
                    slot.pins -= 1
                    slot.last_used = time.time()

    def ladder(self, lease: Lease, *, batch_size: int) -> Ladder:
        """What to do when memory runs out in the middle of the work; see the module's docstring."""
        return Ladder(lease, batch_size, self._evict_unpinned)

    def adapter(self, adapter_id: str, on_progress: Progress | None = None) -> tuple[AdapterEntry, Path]:
        """An adapter's entry and its safetensors file, fetched if needed. Raises UnknownAdapter, DarkroomError."""
        entry = self.catalog.adapter(adapter_id)
        return entry, self.store.adapter_file(entry) or self.store.fetch_adapter(
            entry, _download_progress(entry.name, on_progress)
        )

    # -- Load, unload, list --------------------------------------------------------------------------------------------------

    def load(self, model_id: str, on_progress: Progress | None = None) -> None:
        """Load ahead of use; it may be evicted again like any other."""
        entry = self.catalog.get(model_id)
        with self.use(model_id, entry.task, on_progress):
            pass

    def unload(self, model_id: str) -> bool:
        """With its variants (`id@…`). False when it was not loaded. Raises ModelBusy while it is in use."""
        entry = self.catalog.get(model_id)
        with self._loading, self._state:
            mine = [name for name in self._slots if name == entry.id or name.startswith(f"{entry.id}@")]
            if any(self._slots[name].pins for name in mine):
                raise ModelBusy(entry.id)
            for name in mine:
                self._drop(name)
        return bool(mine)

    def loaded(self) -> list[dict[str, Any]]:
        """JSON of what is in memory, the most recently used first. Never waits for a load."""
        with self._state:
            slots = sorted(self._slots.values(), key=lambda slot: slot.last_used, reverse=True)
            return [
                {
                    "id": slot.entry.id,
                    "bytes": slot.size,
                    "process_bytes": slot.process_bytes,
                    "spare_bytes": slot.spare_bytes,
                    "pinned": slot.pins > 0,
                    "last_used": slot.last_used,
                    "measures": list(slot.measures),
                    "dtypes": {name: dtype_name(dtype) for name, dtype in slot.dtypes.items()},
                    "load_seconds": round(slot.load_seconds, 3),
                }
                for slot in slots
            ]

    def make_room(self, needed: int) -> bool:
        """Evict the least recently used models that nobody uses until `needed` bytes fit.

        False when they don't fit even so; nothing is evicted where the budget alone says that it would not help.
        """
        with self._state:
            pinned = sum(slot.size for slot in self._slots.values() if slot.pins)
        if pinned + needed > self.memory_limit:
            return False
        if not self._fits(needed):
            self._forget_spare()
        while not self._fits(needed):
            if not self._evict_one():
                return False
        return True

    # -- Inside --------------------------------------------------------------------------------------------------------------

    def _pin(self, entry: ModelEntry, builder: Builder, on_progress: Progress | None, load: bool) -> tuple[Slot, bool]:
        with self._loading:
            with self._state:
                slot = self._slots.get(entry.id)
                if slot is not None:
                    slot.pins += 1
                    return slot, False
            if not load:
                raise DarkroomError("not_loaded", 503, f"{entry.name} is not in memory.")
            slot = self._load(entry, builder, on_progress or (lambda fraction, text: None))
            slot.pins = 1
            with self._state:
                self._slots[entry.id] = slot
        return slot, True

    def _load(self, entry: ModelEntry, builder: Builder, on_progress: Progress) -> Slot:
        folder = self._folder(entry, on_progress)
        bases = [self._folder(self.catalog.get(entry.base), on_progress)] if builder.takes_base and entry.base else []
        on_progress(DOWNLOAD_SHARE, f"Loading {entry.name}")
        started, before = time.perf_counter(), self.device.used_memory()
        loaded, measures = self._build(entry, builder, folder, *bases)
        slot = Slot(
            entry=entry,
            builder=builder,
            loaded=loaded,
            measures=measures,
            dtypes=dtypes_of(loaded),
            load_seconds=time.perf_counter() - started,
            size=size_on_device(loaded, measures),
            process_bytes=max(0, self.device.used_memory() - before),
        )
        on_progress(1.0, f"{entry.name} is loaded")
        logger.info("loaded %s: %s of weights in %.1f s", entry.id, readable_size(slot.size), slot.load_seconds)
        return slot

    def _folder(self, entry: ModelEntry, on_progress: Progress) -> Path:
        """Its files, fetched where they are missing, and looked through."""
        folder = self.store.folder(entry) or self.store.fetch(entry, _download_progress(entry.name, on_progress))
        inspect_snapshot(folder, entry.name)
        return folder

    def _build(self, entry: ModelEntry, builder: Builder, folder: Path, *bases: Path) -> tuple[Any, list[str]]:
        """Build, and put on the device; when it does not fit there, with its parts offloaded where that is possible."""
        needed = builder.estimate(entry, folder, self.device)
        offload = "cpu_offload" in self.forced or not self.make_room(needed)
        if offload and self.device.type == "cpu" and not self.make_room(needed):
            raise self._too_large(entry, needed)
        loaded = self._guarded(entry, lambda: builder.build(entry, folder, self.device, *bases))
        if not offload:
            try:
                self._move(loaded)
            except Exception as error:
                if classify(error) != "oom":
                    raise
                offload = True
        measures = ["cpu_offload"] if offload and apply_measure("cpu_offload", loaded, self.device) else []
        if offload and not measures and self.device.type != "cpu":
            raise self._too_large(entry, needed)
        measures += [name for name in sorted(self.forced - {"cpu_offload"}) if apply_measure(name, loaded, self.device)]
        return loaded, measures

    def _guarded(self, entry: ModelEntry, build: Callable[[], Any]) -> Any:
        """A second try after making room where memory ran out; what else fails is the checkpoint's fault, and said so."""
        try:
            return build()
        except DarkroomError:
            raise
        except Exception as error:
            verdict = classify(error)
            if verdict == "fault":
                raise
            if verdict == "error":
                logger.exception("could not load %s", entry.id)
                raise broken_by(error, entry.name) from error
        self._evict_unpinned()
        try:
            return build()
        except Exception as error:
            if classify(error) == "oom":
                raise self._too_large(entry, 0) from error
            raise

    def _move(self, loaded: Any) -> None:
        for module in modules_of(loaded).values():
            module.to(self.device.torch_device)

    def _too_large(self, entry: ModelEntry, needed: int) -> OutOfMemory:
        need, limit = readable_size(needed or entry.memory), readable_size(self.memory_limit)
        others = readable_size(sum(slot.size for slot in self._slots.values()))
        free = readable_size(self.device.free_memory())
        return OutOfMemory(
            f"{entry.name} needs {need} of memory; models may take {limit}, {others} are in use, "
            f"and the {self.device.type} device has {free} free."
        )

    def _fits(self, needed: int) -> bool:
        with self._state:
            held = sum(slot.size for slot in self._slots.values())
        return held + needed <= self.memory_limit and needed <= self.device.free_memory()

    def _forget_spare(self) -> None:
        """What models that nobody uses keep to be quicker goes before one of them does."""
        with self._state:
            forgot = [slot.entry.id for slot in self._slots.values() if not slot.pins and slot.forget()]
        if forgot:
            gc.collect()
            self.device.empty_cache()

    def _evict_one(self) -> str | None:
        with self._state:
            idle = [slot for slot in self._slots.values() if not slot.pins]
            if not idle:
                return None
            oldest = min(idle, key=lambda slot: slot.last_used).entry.id
            self._drop(oldest)
        logger.info("evicted %s", oldest)
        return oldest

    def _evict_unpinned(self) -> list[str]:
        evicted = []
        while (model_id := self._evict_one()) is not None:
            evicted.append(model_id)
        return evicted

    def _drop(self, model_id: str) -> None:
        """Free a model's memory; the caller holds the state lock and knows that it is not pinned."""
        slot = self._slots.pop(model_id)
        slot.views.clear()
        if slot.measures and hasattr(slot.loaded, "remove_all_hooks"):
            slot.loaded.remove_all_hooks()
        slot.loaded = None
        del slot
        gc.collect()
        self.device.empty_cache()

    def _settle(self, lease: Lease) -> None:
        """End the lease's own measures. A model that no longer fits the device whole is dropped, and loaded anew next time;
        whoever waits for it already gets it offloaded."""
        try:
            lease.release_measures()
        except Exception as error:
            if classify(error) != "oom":
                raise
            lease.slot.measures.append("cpu_offload")
            lease.restore_offload()
            with self._state:
                self._slots.pop(lease.entry.id, None)


def _download_progress(name: str, on_progress: Progress | None) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None

    def report(done: int, total: int) -> None:
        on_progress(
            min(DOWNLOAD_SHARE, DOWNLOAD_SHARE * done / max(total, 1)),
            f"Downloading {name}: {readable_size(done)} of {readable_size(total)}",
        )

    return report


_loader: ModelLoader | None = None


def configure(
    catalog: Catalog,
    store: ModelStore,
    device: Device,
    memory_limit: int | None = None,
    forced: frozenset[str] = frozenset(),
) -> ModelLoader:
    """Make the worker's one loader."""
    global _loader
    _loader = ModelLoader(catalog, store, device, memory_limit, forced)
    return _loader


def get_loader() -> ModelLoader:
    """The worker's loader. Raises RuntimeError before `configure`."""
    if _loader is None:
        raise RuntimeError("model_loader.configure(...) has not been called in this process.")
    return _loader
