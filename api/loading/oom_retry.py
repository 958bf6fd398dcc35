"""Retries after out of memory: which measure is applied, by the stage that ran out.  [torch; no Django]

Always first: empty the cache, evict other models. Then, for
    a text encoder      offload to main memory; smaller batches
    the denoiser        smaller batches; attention slices where the device has no fused attention; offload
    the VAE             one picture at a time; tiles; offload
When none is left, OutOfMemory is raised. Attention slices never replace fused attention, which needs no memory for the matrix of
scores; slices need some, and are slower. A setting (MEMORY_MEASURES) can still force them.
"""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from api.errors import DeviceFault
from api.loading.device_memory import MEASURES, OutOfMemory, classify_error, modules_of
from api.metric_definitions import memory_measures

if TYPE_CHECKING:
    from api.loading.model_leases import Lease

logger = logging.getLogger("darkroom.models")

Stage = Literal["text_encoder", "denoiser", "vae"]
ALWAYS_FIRST = ("empty_cache", "evict")
SMALLER_BATCHES = "at most {} at a time"
MEASURES_OF_STAGE: dict[Stage, tuple[str, ...]] = {
    "text_encoder": ("cpu_offload", "halve"),
    "denoiser": ("halve", "attention_slicing", "cpu_offload"),
    "vae": ("vae_slicing", "vae_tiling", "cpu_offload"),
}


def stage_of(error: BaseException, loaded: object) -> Stage:
    """The component that was running, by the stack frames of the failed call; the denoiser if none is found."""
    names = {id(module): name for name, module in modules_of(loaded).items()}
    name = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = names.get(id(frame.f_locals.get("self")), name)
    if name.startswith(("text_encoder", "image_encoder")):
        return "text_encoder"
    return "vae" if name.startswith("vae") else "denoiser"


class OomRetry:
    """Yields attempts until one ends without running out of memory; see api/model_loader.py."""

    def __init__(
        self,
        lease: Lease,
        batch_size: int,
        evict_others: Callable[[], list[str]],
        smaller: str = SMALLER_BATCHES,
        forbidden: Collection[str] = (),
    ) -> None:
        self.lease, self.batch_size, self._smaller = lease, batch_size, smaller
        self._evict_others, self._forbidden = evict_others, forbidden
        self._done = False
        self._applied: set[str] = set()

    def __iter__(self) -> Iterator[Attempt]:
        while not self._done:
            yield Attempt(self)

    def finish(self) -> None:
        self._done = True

    def recover(self, error: BaseException, stage: Stage = "denoiser") -> None:
        """Apply the next measure that helps at this stage. Raises OutOfMemory when none is left."""
        self.lease.restore_offload()
        for measure in (*ALWAYS_FIRST, *MEASURES_OF_STAGE[stage]):
            if measure not in self._applied and self._apply(measure):
                memory_measures.add(measure)
                gc.collect()
                self.lease.device.empty_cache()
                return
        suggestion = "a smaller picture" if "vae" in modules_of(self.lease.loaded_model.loaded) else "less at once"
        raise OutOfMemory(
            f"The {self.lease.device.type} device ran out of memory with {self.lease.entry.name}, and nothing more can be done "
            f"about it: ask for {suggestion}."
        ) from error

    def _apply(self, measure: str) -> bool:
        """False if the measure does not apply. Only halving can be applied repeatedly."""
        if measure == "halve":
            return self._halve()
        self._applied.add(measure)
        if measure == "empty_cache":
            self.lease.loaded_model.clear_cache()
            return self._add_note("Memory ran out; the cache was emptied.")
        if measure == "evict":
            evicted = self._evict_others()
            return bool(evicted) and self._add_note(f"Memory ran out; unloaded {', '.join(evicted)}.")
        if measure in self._forbidden or (measure == "attention_slicing" and self.lease.device.fused_attention):
            return False
        return self.lease.apply_temporary_measure(measure) and self._add_note(f"Memory ran out. {MEASURES[measure]}")

    def _halve(self) -> bool:
        if self.batch_size == 1:
            return False
        self.batch_size //= 2
        return self._add_note(f"Memory ran out; {self._smaller.format(self.batch_size)}.")

    def _add_note(self, text: str) -> bool:
        logger.warning("out of memory with %s: %s", self.lease.entry.id, text)
        self.lease.notes.append(text)
        return True


class Attempt:
    """One attempt. An out-of-memory error inside its `with` is suppressed after a measure was applied."""

    def __init__(self, retry: OomRetry) -> None:
        self._retry = retry

    @property
    def batch_size(self) -> int:
        """The most pictures in one call."""
        return self._retry.batch_size

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> bool:
        if error is None:
            self._retry.finish()
            return False
        kind_of_error = classify_error(error)
        if kind_of_error == "error":
            return False
        if kind_of_error == "fault":
            raise DeviceFault(f"{type(error).__name__} on {self._retry.lease.device.name}") from error
        stage = stage_of(error, self._retry.lease.loaded_model.loaded)
        traceback.clear_frames(frames)  # the failed call's tensors live in its frames
        self._retry.recover(error, stage)
        return True
