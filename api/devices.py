"""The device that models run on: cuda, mps or cpu, its fastest dtype, and its free memory.  [torch; no Django]

On CUDA the dtype follows from the chip's compute capability (`half_precisions`), never from a timing: a small kernel takes as long as
its launch in every dtype, so that an H200 once ran in fp32. On CPU and MPS it is probed: a small convolution and a small matrix
product, the two things that a denoiser consists of, are timed in fp32, bf16 and fp16. Half precision is taken when it is clearly
faster. fp16 is preferred to bf16 when both are about as fast, since it keeps three more bits of mantissa.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from api.json_types import JsonObject

Preference = str
"""auto, cuda, mps or cpu; or one of several CUDA devices: cuda:1."""

PROBED = (torch.float32, torch.bfloat16, torch.float16)
MIN_SPEEDUP = 1.25
"""A half precision must beat fp32 by this factor; noise on a shared machine is about 10 %."""
SPEED_TOLERANCE = 1.15
ROUNDS = 5
FAST_BF16 = (8, 0)
"""CUDA's compute capability from which on bf16 has arithmetic of its own (Ampere); before, it is emulated."""
FAST_FP16 = (5, 3)
SLOW_FP16 = (6, 1)
"""Consumer Pascal (GTX 1000): its fp16 runs at a sixty-fourth of fp32's rate."""
BROKEN_FP16 = re.compile(r"\b(GTX 16\d0|T[56][05]0|T1[02]00|T2000|MX[45]50|CMP 30HX)\b")
"""Turing chips without tensor cores, whose convolutions give NaN in fp16."""


class DeviceUnavailable(RuntimeError):
    """The device that was asked for is not in this machine."""


@dataclass(frozen=True)
class Device:
    type: str
    index: int
    name: str
    dtype: torch.dtype
    channels_last: bool
    memory_total: int
    """Bytes: the accelerator's own memory; main memory on cpu and mps."""
    probe: dict[str, float | None] = field(default_factory=dict)
    """Milliseconds by dtype's name; None where the dtype failed or gave values that are not finite. Empty on CUDA."""
    half_dtypes: frozenset[torch.dtype] = frozenset()
    """On CUDA, the half precisions that the chip has fast arithmetic for."""
    fused_attention: bool = True
    """Attention that needs no memory for the whole matrix of scores; computing it in slices would need more, and is slower."""

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cuda", self.index) if self.type == "cuda" else torch.device(self.type)

    def free_memory(self) -> int:
        """Bytes that can be allocated now; on CUDA what torch's cache holds unused counts as free."""
        if self.type != "cuda":
            return main_memory()[1]
        unused = torch.cuda.memory_reserved(self.index) - torch.cuda.memory_allocated(self.index)
        return torch.cuda.mem_get_info(self.index)[0] + unused

    def used_memory(self) -> int:
        """Bytes that this process holds: CUDA's allocations, or the process's resident memory."""
        if self.type == "cuda":
            return torch.cuda.memory_allocated(self.index)
        return psutil.Process().memory_info().rss

    def empty_cache(self) -> None:
        if self.type == "cuda":
            torch.cuda.empty_cache()
        elif self.type == "mps":
            torch.mps.empty_cache()
        else:
            trim_heap()

    @property
    def runs_in_slow_fp32(self) -> bool:
        """True for an accelerator without fast half precision: half the speed and twice the memory that users expect."""
        return self.type != "cpu" and self.dtype == torch.float32

    @property
    def dtype_reason(self) -> str:
        """Why `dtype` was chosen, as a sentence for people."""
        if self.type == "cuda":
            return "by what the chip supports"
        timings_ms = [f"{name} {'not possible' if spent is None else f'{spent:.1f} ms'}" for name, spent in self.probe.items()]
        return f"a trial took: {', '.join(timings_ms)}"

    def is_fast(self, dtype: torch.dtype) -> bool:
        """Is `dtype` about as fast here as the dtype that was chosen?"""
        if self.half_dtypes:
            return dtype in self.half_dtypes
        own, chosen = self.probe.get(dtype_name(dtype)), self.probe.get(dtype_name(self.dtype))
        return own is not None and chosen is not None and own <= chosen * SPEED_TOLERANCE

    def describe(self) -> JsonObject:
        """JSON for the Worker row and /api/status/."""
        cuda = torch.cuda.is_available()
        return {
            "pytorch_version": torch.__version__,
            "cuda_available": cuda,
            "cuda_version": torch.version.cuda,
            "device_count": torch.cuda.device_count() if cuda else 0,
            "devices": [_describe_cuda(index) for index in range(torch.cuda.device_count())] if cuda else [],
            "device": {"type": self.type, "index": self.index, "name": self.name, "memory_total": self.memory_total},
            "dtype": dtype_name(self.dtype),
            "channels_last": self.channels_last,
            "probe": {"milliseconds": dict(self.probe)},
            "cpu": {
                "name": _cpu_name(),
                "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
                "threads": torch.get_num_threads(),
            },
            "memory": {"total": main_memory()[0], "available": main_memory()[1]},
        }


@functools.cache
def probe_device(preference: Preference = "auto") -> Device:
    """The device to run models on; probed once a process (well under a second). Raises DeviceUnavailable."""
    kind, index = _choose(preference)
    if kind == "cuda":
        torch.cuda.set_device(index)  # for what allocates on "cuda" without saying which
        return cuda_device(index, torch.cuda.get_device_properties(index))
    timings = _time_dtypes(torch.device(kind))
    return Device(
        type=kind,
        index=index,
        name="Apple GPU" if kind == "mps" else _cpu_name(),
        dtype=torch.float16 if kind == "mps" else fastest_dtype(timings),
        channels_last=kind != "mps",
        memory_total=main_memory()[0],
        probe={dtype_name(dtype): milliseconds for dtype, milliseconds in timings.items()},
        fused_attention=kind != "mps",
    )


def cuda_device(index: int, properties: Any) -> Device:
    """A CUDA device by its properties (`torch.cuda.get_device_properties`): name, major, minor, total_memory."""
    half_dtypes = half_precisions((properties.major, properties.minor), properties.name)
    return Device(
        type="cuda",
        index=index,
        name=properties.name,
        dtype=torch.float16 if torch.float16 in half_dtypes else torch.float32,
        channels_last=True,
        memory_total=properties.total_memory,
        half_dtypes=half_dtypes,
    )


def half_precisions(capability: tuple[int, int], name: str) -> frozenset[torch.dtype]:
    """Those that a CUDA chip has fast, correct arithmetic for."""
    if capability < FAST_FP16 or capability == SLOW_FP16 or BROKEN_FP16.search(name):
        return frozenset()
    return frozenset({torch.float16, torch.bfloat16} if capability >= FAST_BF16 else {torch.float16})


def fastest_dtype(milliseconds: dict[torch.dtype, float | None]) -> torch.dtype:
    """fp32 unless a half precision is clearly faster; fp16 before bf16 when both are about as fast."""
    single = milliseconds[torch.float32]
    half_dtypes = {
        dtype: timings_ms
        for dtype, timings_ms in milliseconds.items()
        if dtype != torch.float32 and timings_ms is not None and (single is None or timings_ms * MIN_SPEEDUP <= single)
    }
    if not half_dtypes:
        return torch.float32
    best = min(half_dtypes.values())
    if half_dtypes.get(torch.float16, float("inf")) <= best * SPEED_TOLERANCE:
        return torch.float16
    return min(half_dtypes, key=lambda dtype: half_dtypes[dtype])


def main_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Bytes in all and available, within the container's limit where there is one (cgroup v2)."""
    machine = psutil.virtual_memory()
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max" where there is none
        used = int((cgroup / "memory.current").read_text())
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return machine.total, machine.available
    available = limit - used + int(statistics.get("inactive_file", 0))  # the cache of files gives way
    return min(limit, machine.total), max(0, min(available, machine.available))


def trim_heap() -> None:
    """Return freed heap memory to the system (malloc_trim). No effect with C libraries other than glibc."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _choose(preference: Preference) -> tuple[str, int]:
    """Type and index."""
    kind, _, index = preference.partition(":")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if preference == "auto":
        return next(kind for kind, exists in available.items() if exists), 0
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise DeviceUnavailable(f"DEVICE is {preference}, and this machine has none that PyTorch {torch.__version__} can use.")
    return kind, int(index or 0)


@torch.inference_mode()
def _time_dtypes(device: torch.device) -> dict[torch.dtype, float | None]:
    """The best of some rounds in each dtype, taken in turns so that a moment's noise meets all of them.

    On a CPU one thread is used and its own time is counted, so that other work on the machine does not decide.
    """
    clock, threads = time.perf_counter, torch.get_num_threads()
    if device.type == "cpu":
        clock = time.thread_time
        torch.set_num_threads(1)
    try:
        workloads = {dtype: _workload(device, dtype) for dtype in PROBED}
        rounds = [{dtype: _milliseconds(workload, clock) for dtype, workload in workloads.items()} for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    best: dict[torch.dtype, float | None] = {}
    for dtype in PROBED:
        timings_ms = [timings[dtype] for timings in rounds[1:]]  # the first round warms up
        best[dtype] = None if None in timings_ms else min(time for time in timings_ms if time is not None)
    return best


def _workload(device: torch.device, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 320, 32, 32, generator=generator).to(device, dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(320, 320, 3, 3, generator=generator).to(device, dtype).to(memory_format=torch.channels_last)
    tokens = torch.randn(1024, 640, generator=generator).to(device, dtype)
    weight = torch.randn(1280, 640, generator=generator).to(device, dtype)

    def workload() -> torch.Tensor:
        convolved = torch.nn.functional.conv2d(pixels, kernel, padding=1)
        return convolved.float().mean() + torch.nn.functional.linear(tokens, weight).float().mean()

    return workload


def _milliseconds(workload: Callable[[], torch.Tensor], clock: Callable[[], float]) -> float | None:
    """None when the dtype is not implemented on the device, or gives no finite number."""
    started = clock()
    try:
        finite = bool(torch.isfinite(workload()))  # also waits for the device
    except RuntimeError:
        return None
    return round((clock() - started) * 1000, 3) if finite else None


def _describe_cuda(index: int) -> JsonObject:
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return {
        "index": index,
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_total": total,
        "memory_free": free,
    }


def _cpu_name() -> str:
    """The processor's own name where the system tells it (Linux), else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
