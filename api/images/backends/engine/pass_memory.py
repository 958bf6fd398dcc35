"""How many rows fit into one pass, by the memory that passes took before and what is free now.  [torch; no Django]

An entry of the UNet's batch (a guided row has two) takes memory by its size, so the peak of a pass says what more entries would take.
A pass is measured when it has more entries than any of its shape before, or when it was cut short, so that a steady run measures
nothing. After a shortage fewer entries are taken to fit into what was free then. Where nothing can be measured, all rows fit, as far
as is known here: running out of memory has its own remedies (api/loading/oom_retry.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import torch

from api.devices import Device
from api.images.backends.engine.passes import PassKey, controls_of, key_of
from api.images.backends.engine.rows import Row
from api.loading.device_memory import classify_error

logger = logging.getLogger("darkroom.models")

SHARE = 0.9
"""Of what is free: allocators round up, and leave gaps."""
FREE_SECONDS = 1.0
"""For so long an answer of what is free is believed: asking takes a few hundredths of a millisecond."""

PROCESS = Path("/proc/self")

Shape = tuple[PassKey, bool, tuple[str, ...]]
"""And whether a ControlNet takes part, and which memory measures are in force."""


class Meter(Protocol):
    """Of the memory that a call takes beyond what is held before it."""

    def start(self) -> int:
        """Bytes that are held."""

    def peak(self) -> int:
        """Bytes that were held at the most since `start`."""


class CudaMeter:
    """Counts on the host, so the device isn't waited for."""

    def __init__(self, index: int) -> None:
        self._index = index

    def start(self) -> int:
        torch.cuda.reset_peak_memory_stats(self._index)
        return torch.cuda.memory_allocated(self._index)

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated(self._index)


class ProcessMeter:
    """The process's resident memory, by Linux's own high-water mark. What other threads take meanwhile is counted in."""

    def start(self) -> int:
        (PROCESS / "clear_refs").write_text("5")  # the mark falls to what is held now
        return self.peak()

    def peak(self) -> int:
        lines = (PROCESS / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def meter_of(device: Device) -> Meter | None:
    if device.type == "cuda" and torch.cuda.is_available():
        return CudaMeter(device.index)
    return ProcessMeter() if device.type == "cpu" and PROCESS.exists() else None


def entries_of(row: Row) -> int:
    """In the UNet's batch."""
    return 1 + row.guided + len(row.conditioning.parts)


class PassMemory:
    """Used by one thread. `free`: asks for the bytes that can be allocated now. Without a meter all rows fit."""

    def __init__(self, meter: Meter | None, free: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._ask_free, self._clock = meter, free, clock
        self._most: dict[Shape, int] = {}
        """Entries that were measured at once."""
        self._measured: dict[Shape, float] = {}
        """Bytes of an entry."""
        self._least: dict[Shape, float] = {}
        """Bytes that an entry takes at the least, by the shortages that there were."""
        self._free: int | None = None
        self._free_until = 0.0

    def count_fitting(self, rows: Sequence[Row], measures: Sequence[str]) -> int:
        """How many of `rows`, which can share a pass, fit into memory together, from the first on; one always does."""
        shape = _shape_of(rows, measures)
        each = max(self._measured.get(shape, 0.0), self._least.get(shape, 0.0))
        free = self._free_bytes() if each and len(rows) > 1 else None
        if free is None:
            return len(rows)
        count = max(1, sum(entries * each <= free * SHARE for entries in accumulate(map(entries_of, rows))))
        if count < len(rows):
            self._most.pop(shape, None)  # measured again: what other threads took may have been counted in
        return count

    @contextmanager
    def watching(self, rows: Sequence[Row], measures: Sequence[str]) -> Iterator[None]:
        """Around the pass of `rows`. Where weights come to the device in the pass itself, its peak says little, and isn't read."""
        shape, entries, free = _shape_of(rows, measures), sum(map(entries_of, rows)), self._free_bytes()
        is_wanted = entries > self._most.get(shape, 0) and not any("offload" in name for name in measures)
        before = self._ask(self._meter.start) if self._meter and is_wanted else None
        try:
            yield
        except Exception as error:
            if classify_error(error) == "oom":
                self._note_shortage(shape, entries, free)
            raise
        peak = self._ask(self._meter.peak) if self._meter and before is not None else None
        if peak is not None and before is not None:
            self._most[shape], self._measured[shape] = entries, max(0, peak - before) / entries

    def _note_shortage(self, shape: Shape, entries: int, free: int | None) -> None:
        """`free` before the pass was too little for so many entries: from now on one fewer fits into it."""
        self._free_until = 0.0
        if free is not None and entries > 1:
            self._least[shape] = max(self._least.get(shape, 0.0), free * SHARE / (entries - 0.5))

    def _free_bytes(self) -> int | None:
        if self._clock() >= self._free_until:
            self._free, self._free_until = self._ask(self._ask_free), self._clock() + FREE_SECONDS
        return self._free

    def _ask(self, question: Callable[[], int]) -> int | None:
        """None where it can't be told; after a failure nothing is measured any more."""
        if self._meter is None:
            return None
        try:
            return question()
        except Exception as error:
            logger.warning("the memory of a pass can't be measured: %s: %s", type(error).__name__, error)
            self._meter = self._free = None
            return None


def _shape_of(rows: Sequence[Row], measures: Sequence[str]) -> Shape:
    return key_of(rows[0]), bool(controls_of(rows)), tuple(measures)
