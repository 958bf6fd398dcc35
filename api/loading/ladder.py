"""When memory runs out: what is done about it, by the stage that ran out.  [torch; no Django]

Always first: empty the cache, evict other models. Then, for
    a text encoder      offload to main memory; smaller batches
    the denoiser        smaller batches; attention slices where the device has no fused attention; offload
    the VAE             one picture at a time; tiles; offload
and at last give up with `out_of_memory`. Attention slices never replace fused attention, which needs no memory for its matrix of
scores: slices do, and are slower. A setting (MEMORY_MEASURES) may still force them.
"""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from api.errors import DeviceFault
from api.loading.memory import MEASURES, OutOfMemory, classify, modules_of

if TYPE_CHECKING:
    from api.loading.leases import Lease

logger = logging.getLogger("darkroom.models")

Stage = Literal["text_encoder", "denoiser", "vae"]
FIRST = ("empty_cache", "evict")
RUNGS: dict[Stage, tuple[str, ...]] = {
    "text_encoder": ("cpu_offload", "halve"),
    "denoiser": ("halve", "attention_slicing", "cpu_offload"),
    "vae": ("vae_slicing", "vae_tiling", "cpu_offload"),
}


def stage_of(error: BaseException, loaded: Any) -> Stage:
    """Which of the model's components was at work, by the frames of the call that failed; the denoiser where none was."""
    names = {id(module): name for name, module in modules_of(loaded).items()}
    name = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = names.get(id(frame.f_locals.get("self")), name)
    if name.startswith(("text_encoder", "image_encoder")):
        return "text_encoder"
    return "vae" if name.startswith("vae") else "denoiser"


class Ladder:
    """Runs a body again after each step down until it ends without running out of memory; see api/model_loader.py."""

    def __init__(self, lease: Lease, batch_size: int, evict_others: Callable[[], list[str]]) -> None:
        self.lease, self.batch_size = lease, batch_size
        self._evict_others = evict_others
        self._done = False
        self._tried: set[str] = set()

    def __iter__(self) -> Iterator[Attempt]:
        while not self._done:
            yield Attempt(self)

    def finish(self) -> None:
        self._done = True

    def step_down(self, error: BaseException, stage: Stage = "denoiser") -> None:
        """Do the next thing that helps at this stage. Raises OutOfMemory when nothing is left."""
        self.lease.restore_offload()
        for rung in (*FIRST, *RUNGS[stage]):
            if rung not in self._tried and self._take(rung):
                gc.collect()
                self.lease.device.empty_cache()
                return
        asked = "a smaller picture" if "vae" in modules_of(self.lease.slot.loaded) else "less at once"
        raise OutOfMemory(
            f"The {self.lease.device.type} device ran out of memory with {self.lease.entry.name}, and nothing more can be done "
            f"about it: ask for {asked}."
        ) from error

    def _take(self, rung: str) -> bool:
        """False where it does not help. Halving may help again, the others don't."""
        if rung == "halve":
            return self._halve()
        self._tried.add(rung)
        if rung == "empty_cache":
            self.lease.slot.forget()
            return self._note("Memory ran out; the cache was emptied.")
        if rung == "evict":
            evicted = self._evict_others()
            return bool(evicted) and self._note(f"Memory ran out; unloaded {', '.join(evicted)}.")
        if rung == "attention_slicing" and self.lease.device.fused_attention:
            return False
        return self.lease.take_measure(rung) and self._note(f"Memory ran out. {MEASURES[rung]}")

    def _halve(self) -> bool:
        if self.batch_size == 1:
            return False
        self.batch_size //= 2
        return self._note(f"Memory ran out; at most {self.batch_size} at a time.")

    def _note(self, text: str) -> bool:
        logger.warning("out of memory with %s: %s", self.lease.entry.id, text)
        self.lease.notes.append(text)
        return True


class Attempt:
    """One try on the ladder. Running out of memory inside its `with` is swallowed after a step down."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder

    @property
    def batch_size(self) -> int:
        """At most so many pictures in one call."""
        return self._ladder.batch_size

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> bool:
        if error is None:
            self._ladder.finish()
            return False
        verdict = classify(error)
        if verdict == "error":
            return False
        if verdict == "fault":
            raise DeviceFault(f"{type(error).__name__} on {self._ladder.lease.device.name}") from error
        stage = stage_of(error, self._ladder.lease.slot.loaded)
        traceback.clear_frames(frames)  # the failed call's tensors live in its frames
        self._ladder.step_down(error, stage)
        return True
