"""When memory runs out: what an error means, what can be done about it, and in which order.  [torch; no Django]

The ladder: empty the cache → evict other models → halve the batch → VAE slicing and tiling → attention slicing → offload to the
CPU → give up with `out_of_memory`. Slicing is an answer to a shortage, never a default: it makes a CPU step 2.5 times slower.
"""

from __future__ import annotations

import gc
import json
import logging
import struct
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.snapshots import is_lfs_pointer
from api.errors import DarkroomError, DeviceFault

if TYPE_CHECKING:
    from api.model_loader import Lease

logger = logging.getLogger("darkroom.models")

MEASURES = {
    "vae_slicing": "The VAE decoded one picture at a time.",
    "vae_tiling": "The VAE decoded the picture in tiles.",
    "attention_slicing": "Attention was computed in slices, which is slower.",
    "cpu_offload": "Parts of the model were kept in main memory, which is slower.",
}
"""Every measure that an owner can force by setting, and what it says on a job."""

OUT_OF_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "status_alloc_failed")
FAULT_SIGNS = ("cuda error", "cudnn error", "cublas_status", "cusolver_status", "hip error", "device-side assert")


class OutOfMemory(DarkroomError):
    def __init__(self, detail: str) -> None:
        super().__init__("out_of_memory", 507, detail)


def broken_by(error: Exception, name: str) -> DarkroomError:
    """A checkpoint that can't be built is its own fault, except where a package is missing: the library that wants it tells which."""
    if isinstance(error, ImportError):
        return DarkroomError("missing_package", 500, f"{name} can't be loaded: {' '.join(str(error).split())}")
    return DarkroomError("broken_model", 422, f"{name} can't be loaded: its files don't fit together.")


def classify(error: BaseException) -> Literal["oom", "fault", "error"]:
    """Is this a shortage of memory, a broken device, or an ordinary error? Looks at the errors that caused it, too."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, (MemoryError, torch.OutOfMemoryError, OutOfMemory)):
            return "oom"
        if isinstance(seen, RuntimeError) and any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
            return "oom"
        if isinstance(seen, (DeviceFault, torch.AcceleratorError)):
            return "fault"
        if isinstance(seen, RuntimeError) and any(sign in text for sign in FAULT_SIGNS):
            return "fault"
        seen = seen.__cause__
    return "error"


def readable_size(size: int) -> str:
    """Of bytes: '4.2 GB', or '21.7 MB' below one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


# -- Sizes -------------------------------------------------------------------------------------------------------------------


def modules_of(loaded: Any) -> dict[str, torch.nn.Module]:
    """The torch modules of a pipeline by name, or of a single model, or of a mapping of parts."""
    if isinstance(loaded, torch.nn.Module):
        return {"model": loaded}
    parts = loaded if isinstance(loaded, dict) else getattr(loaded, "components", {})
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def weight_bytes(loaded: Any) -> int:
    """Bytes of all parameters and buffers, tensors that are shared counted once."""
    modules = modules_of(loaded).values()
    tensors = {id(tensor): tensor for module in modules for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def size_on_device(loaded: Any, measures: list[str]) -> int:
    """Bytes of the device's memory that its weights take under these measures."""
    if "cpu_offload" in measures:  # one component at a time
        return max(weight_bytes(module) for module in modules_of(loaded).values())
    return weight_bytes(loaded) or int(getattr(loaded, "nbytes", 0))


def read_header(file: Path) -> dict[str, Any]:
    """The table of tensors of a safetensors file. Raises ValueError, in words, when the file is cut off or no safetensors file."""
    if is_lfs_pointer(file):
        raise ValueError("it is a Git LFS pointer, not the weights themselves, which `git lfs pull` fetches")
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if 8 + length > size:
            raise ValueError("it is cut off, or no safetensors file")
        content = stream.read(length)
    try:
        header = dict(json.loads(content))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError("it is no safetensors file") from error
    if 8 + length + end != size:
        raise ValueError(f"it should have {8 + length + end} bytes and has {size}")
    return header


def bytes_in_dtype(header: dict[str, Any], dtype: torch.dtype) -> int:
    """What the tensors of a safetensors header take once their floating-point numbers are held in `dtype`."""
    total = 0
    for tensor in header.values():
        stored = tensor["data_offsets"][1] - tensor["data_offsets"][0]
        width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(tensor["dtype"])
        total += stored * dtype.itemsize // width if width else stored
    return total


def estimate_files(entry: ModelEntry, folder: Path, files: Iterable[Path], dtype: torch.dtype) -> int:
    """Bytes of these safetensors files of a model once loaded in `dtype`. Raises DarkroomError for one that is damaged."""
    total = 0
    for file in files:
        try:
            total += bytes_in_dtype(read_header(file), dtype)
        except (ValueError, KeyError, TypeError, OSError) as error:
            name = file.relative_to(folder).as_posix()
            raise DarkroomError("damaged", 422, f"The file {name} of {entry.name} is damaged: {error}.") from error
    return total


# -- Measures ----------------------------------------------------------------------------------------------------------------


def apply_measure(name: str, pipeline: Any, device: Device) -> bool:
    """Turn a measure on. False where it does not apply to this pipeline or device, or is on already."""
    if name in ("vae_slicing", "vae_tiling"):
        return _switch_vae(getattr(pipeline, "vae", None), name.removeprefix("vae_"))
    if name == "attention_slicing":
        if not any(hasattr(module, "set_attention_slice") for module in modules_of(pipeline).values()):
            return False
        pipeline.enable_attention_slicing()
        return True
    if device.type == "cpu" or not getattr(pipeline, "model_cpu_offload_seq", None):
        return False
    pipeline.enable_model_cpu_offload(device=device.torch_device)
    return True


def undo_measure(name: str, pipeline: Any, device: Device) -> None:
    if name in ("vae_slicing", "vae_tiling"):
        getattr(pipeline.vae, "disable_" + name.removeprefix("vae_"))()
    elif name == "attention_slicing":
        pipeline.disable_attention_slicing()
    else:
        pipeline.remove_all_hooks()
        pipeline.to(device.torch_device)


def _switch_vae(vae: Any, kind: str) -> bool:
    if not hasattr(vae, f"use_{kind}") or getattr(vae, f"use_{kind}"):
        return False
    getattr(vae, f"enable_{kind}")()
    return True


# -- The ladder --------------------------------------------------------------------------------------------------------------


class Ladder:
    """Runs a body again after each step down until it ends without running out of memory; see api/model_loader.py."""

    def __init__(self, lease: Lease, batch_size: int, evict_others: Callable[[], list[str]]) -> None:
        self.lease, self.batch_size = lease, batch_size
        self._evict_others = evict_others
        self._done = False
        self._rungs: deque[Callable[[], bool]] = deque(
            (self._empty_cache, self._evict, self._halve, self._slice_vae, self._slice_attention, self._offload)
        )

    def __iter__(self) -> Iterator[Attempt]:
        while not self._done:
            yield Attempt(self)

    def finish(self) -> None:
        self._done = True

    def step_down(self, error: BaseException) -> None:
        """Do the next thing that helps. Raises OutOfMemory when nothing is left."""
        while self._rungs:
            rung = self._rungs[0]
            helped = rung()
            if not helped or rung != self._halve or self.batch_size == 1:
                self._rungs.popleft()
            if helped:
                gc.collect()
                self.lease.device.empty_cache()
                return
        raise OutOfMemory(
            f"The {self.lease.device.type} device ran out of memory with {self.lease.entry.name}, and nothing more can be done "
            "about it: ask for a smaller picture."
        ) from error

    def _note(self, text: str) -> bool:
        logger.warning("out of memory with %s: %s", self.lease.entry.id, text)
        self.lease.notes.append(text)
        return True

    def _empty_cache(self) -> bool:
        self.lease.slot.forget()
        return self._note("Memory ran out; the cache was emptied.")

    def _evict(self) -> bool:
        evicted = self._evict_others()
        return bool(evicted) and self._note(f"Memory ran out; unloaded {', '.join(evicted)}.")

    def _halve(self) -> bool:
        if self.batch_size == 1:
            return False
        self.batch_size //= 2
        return self._note(f"Memory ran out; at most {self.batch_size} at a time.")

    def _slice_vae(self) -> bool:
        return any([self._measure("vae_slicing"), self._measure("vae_tiling")])

    def _slice_attention(self) -> bool:
        return self._measure("attention_slicing")

    def _offload(self) -> bool:
        return self._measure("cpu_offload")

    def _measure(self, name: str) -> bool:
        return self.lease.take_measure(name) and self._note(f"Memory ran out. {MEASURES[name]}")


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
        traceback.clear_frames(frames)  # the failed call's tensors live in its frames
        self._ladder.step_down(error)
        return True
