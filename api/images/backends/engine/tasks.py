"""A request while the engine works on it.  [torch]"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from PIL import Image

from api.errors import DarkroomError
from api.images.backends.engine.image_attention import ImagePrompt
from api.images.backends.request import ImageRequest, RunResult


class TaskHooks(Protocol):
    """What the engine tells and asks of one request."""

    def on_step(self, step: int, steps: int, preview: bytes | None) -> None:
        """`step` of `steps` is done, over all pictures of the request. `preview` is a small JPEG; None: no new one."""

    def wants_preview(self) -> bool:
        """Asked before one is made."""

    def on_load(self, fraction: float, text: str) -> None:
        """Of fetching and loading the model, 0 to 1, and what is being done in words."""

    def cancelled(self) -> bool:
        """Asked at every step."""

    def add_time(self, name: str, seconds: float) -> None:
        """Seconds of wall time for the timing `name`: load, encode, denoise, decode."""

    def warn(self, text: str) -> None:
        """A sentence for the people who read the job."""

    def explain(self, error: Exception) -> DarkroomError:
        """What its owner is told of an error that nobody foresaw. Raises it where that is no fault of the request's."""


@dataclass(eq=False)
class Task:
    """A request, whose pictures are made in rows: one for each of its seeds."""

    request: ImageRequest
    hooks: TaskHooks
    take: Callable[[int, Image.Image], None]
    """Gets each picture when it is made, with its number among the seeds."""
    waiting: deque[int] = field(default_factory=deque)
    """Numbers of the pictures that have no row yet."""
    maps: dict[int, torch.Tensor] = field(default_factory=dict)
    """Its control maps by their number, once the first of its rows is made."""
    image_prompts: tuple[ImagePrompt, ...] | None = None
    """What its pictures add, once the first of its rows is made."""
    made: int = 0
    steps: int = 0
    """Of the scheduler for each picture; 0 before the first row."""
    last_preview: float = 0.0
    """When the last one was made (`time.monotonic`)."""
    result: RunResult | None = None
    """Whether all pictures were made, or why not; None while it is worked on."""

    def __post_init__(self) -> None:
        self.waiting.extend(range(len(self.request.spec.seeds)))

    @property
    def pictures(self) -> int:
        return len(self.request.spec.seeds)

    @property
    def has_waiting(self) -> bool:
        return self.result is None and bool(self.waiting)

    def fail(self, error: DarkroomError) -> None:
        """Without the frames that the error went through: they hold rows and this request, which would stay until garbage is collected."""
        error.__cause__ = error.__context__ = None
        self.result = self.result if self.result is not None else error.with_traceback(None)

    def stop_if_cancelled(self) -> None:
        if self.result is None and self.hooks.cancelled():
            self.result = False

    def finish_picture(self, number: int, picture: Image.Image) -> None:
        self.take(number, picture)
        self.made += 1
        if self.made == self.pictures:
            self.result = True
