"""The engine for one call: requests that are there from the beginning, until the last of them has ended.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from api.errors import DarkroomError
from api.images.backends.engine.engine import Engine
from api.images.backends.engine.tasks import Task
from api.images.backends.request import Collector, Hooks, ImageRequest, RunResult
from api.model_loader import ModelLoader


def call_engine(loader: ModelLoader, requests: Sequence[ImageRequest], hooks: Hooks, collector: Collector) -> list[RunResult]:
    """See `make_pictures` in local.py; the requests may differ in all but model and adapters."""
    first = requests[0].spec
    engine = Engine(loader, first.model_id, first.loras, most_rows=1 if first.deterministic else None)
    parts = [RequestHooks(hooks, index) for index in range(len(requests))]
    tasks = [
        Task(request, part, partial(collector.take, index))
        for index, (request, part) in enumerate(zip(requests, parts, strict=True))
    ]
    with closing(engine):
        for task in tasks:
            engine.add(task)
        while engine.tasks:
            engine.step()
            report_step(hooks, parts, tasks, engine.most_rows)
        collector.close()  # while the model is in memory
    return [task.result if isinstance(task.result, DarkroomError) else bool(task.result) for task in tasks]


class RequestHooks:
    """One request's part of the hooks of a call."""

    def __init__(self, hooks: Hooks, index: int) -> None:
        self._hooks, self._index = hooks, index
        self.share_done = 0.0
        """Of all its steps, 0 to 1."""
        self.preview: bytes | None = None
        self.has_moved = False

    def on_step(self, step: int, steps: int, preview: bytes | None) -> None:
        self.share_done, self.preview, self.has_moved = step / steps, preview, True

    def wants_preview(self) -> bool:
        return self._hooks.wants_preview(self._index)

    def on_load(self, fraction: float, text: str) -> None:
        if self._index == 0:
            self._hooks.on_load(fraction, text)

    def cancelled(self) -> bool:
        return self._hooks.cancelled(self._index)

    def add_time(self, name: str, seconds: float) -> None:
        self._hooks.add_time(name, seconds, self._index)

    def warn(self, text: str) -> None:
        self._hooks.warn(text, self._index)

    def explain(self, error: Exception) -> DarkroomError:
        """It ends the call, as one of the pipeline's own does."""
        raise error


def report_step(hooks: Hooks, parts: Sequence[RequestHooks], tasks: Sequence[Task], most_rows: int) -> None:
    """Tells the call's hooks of the last pass: steps over all pictures, where they can't all be in work at once."""
    if not any(part.has_moved for part in parts):
        return
    steps = max(task.steps for task in tasks)
    counted = [(part, task) for part, task in zip(parts, tasks, strict=True) if task.steps]
    pictures = sum(task.pictures for _, task in counted)
    total = steps if pictures <= most_rows else steps * pictures
    done = total * sum(part.share_done * task.pictures for part, task in counted) / pictures
    hooks.on_step(round(done), total, [part.preview for part in parts])
    for part in parts:
        part.preview, part.has_moved = None, False
