"""What the parts of `benchmarks.gpu` share: the table, and how time is taken.  [torch; no Django]"""

from __future__ import annotations

import time
import traceback
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.gpu_models import Models

WIDTH = 46


class Table:
    """Prints each figure as it is found, and keeps all for the JSON file."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}
        self._rows: dict[str, Any] = {}

    def start(self, part: str) -> None:
        self._rows = self.parts[part] = {}
        print(f"\n{part}", flush=True)

    def add(self, name: str, text: str, **figures: Any) -> None:
        self._rows[name] = figures or text
        print(f"  {name:<{WIDTH}} {text}", flush=True)


class Run:
    """What every part needs."""

    def __init__(self, models: Models, table: Table, options: Namespace) -> None:
        self.models, self.table, self.device = models, table, models.device
        self.tiny, self.steps = options.tiny, 2 if options.tiny else options.steps
        self.compiles = options.compile
        self.failed = False

    @contextmanager
    def going_on(self, name: str) -> Iterator[None]:
        """What fails inside is said, and what comes behind it is measured all the same."""
        try:
            yield
        except Exception as error:
            self.failed = True
            self.table.add(name, f"FAILED: {type(error).__name__}: {error}", error=traceback.format_exc())

    def seconds(self, work: Callable[[], Any]) -> float:
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def each(self, work: Callable[[], Any]) -> float:
        """Of one call: of as many as take about a second, after some that are not counted."""
        work()
        repeats = 2 if self.tiny else max(3, min(30, int(1 / self.seconds(work))))
        return self.seconds(lambda: [work() for _ in range(repeats)]) / repeats

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Hooks:
    """Adds up the phases."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = defaultdict(float)
        self.warnings: list[str] = []

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None:
        return

    def on_load(self, fraction: float, text: str) -> None:
        return

    def wants_preview(self, index: int) -> bool:
        return False

    def cancelled(self, index: int) -> bool:
        return False

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] += time.perf_counter() - started

    def add_time(self, name: str, seconds: float, index: int | None = None) -> None:
        self.phases[name] += seconds

    def warn(self, text: str, index: int | None = None) -> None:
        self.warnings.append(text)
