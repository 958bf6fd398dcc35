"""What a backend is asked for, what it tells while it works, and how it fails. No torch, no Django."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from api.errors import DarkroomError
from api.images.backends.frames import Frame, make_frame
from api.images.spec import Img2ImgSpec, Txt2ImgSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ImageRequest:
    """A request, with its pictures opened.

    `image` and `mask` may have any size (frames.py); the mask is white where the picture is to be repainted.
    """

    spec: Txt2ImgSpec
    image: Image.Image | None = None
    mask: Image.Image | None = None
    latents: torch.Tensor | None = None
    """(1, channels, h, w), in the place of `image`: what the picture would be encoded to."""
    controls: tuple[Image.Image, ...] = ()
    """Of `spec.control`, in its order; they may have any size, too."""
    image_prompts: tuple[Image.Image, ...] = ()
    """Of `spec.ip_adapter`, in its order, of any size."""

    @cached_property
    def frame(self) -> Frame:
        """Of a request that has a picture."""
        assert isinstance(self.spec, Img2ImgSpec)
        assert self.image is not None
        return make_frame(self.spec, self.image, self.mask)


class Hooks(Protocol):
    """What a backend tells and asks while it works; `index` and the positions of `previews` count the requests of the call."""

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None:
        """`step` of `steps` is done, over all pictures of the call. A preview is a small JPEG; None: no new one."""

    def on_load(self, fraction: float, text: str) -> None:
        """Of fetching and loading the model, 0 to 1, and what is being done in words."""

    def cancelled(self, index: int) -> bool:
        """Asked at every step. When all requests are cancelled the work stops within a step."""

    def wants_preview(self, index: int) -> bool:
        """Asked before one is made."""

    def measure(self, name: str) -> AbstractContextManager[object]:
        """The seconds inside are added to the timing `name`: load, encode, denoise, decode, remote."""

    def add_time(self, name: str, seconds: float, index: int | None = None) -> None:
        """The same for seconds that were measured already; of request `index` alone where it is given."""

    def warn(self, text: str, index: int | None = None) -> None:
        """A sentence for the people who read the job of request `index`; of all of the call where it is None."""


class Collector(Protocol):
    """Takes pictures as they are made. `index` counts the requests of the call, `number` the seeds of that request."""

    def take(self, index: int, number: int, picture: Image.Image) -> None: ...

    def close(self) -> None:
        """All are made. The model that made them is still in memory: whatever is loaded now has to fit beside it."""


RunResult = bool | DarkroomError
"""What became of one request of a batch: whether all its pictures were made (not, when it was cancelled), or the error that is its own."""
Outcome = list[Image.Image] | DarkroomError
"""The same, with the pictures: [] when it was cancelled."""


class PictureList:
    """Keeps every picture."""

    def __init__(self) -> None:
        self._pictures: dict[int, dict[int, Image.Image]] = {}

    def take(self, index: int, number: int, picture: Image.Image) -> None:
        self._pictures.setdefault(index, {})[number] = picture

    def close(self) -> None:
        return

    def outcome(self, index: int, run_result: RunResult) -> Outcome:
        if isinstance(run_result, DarkroomError):
            return run_result
        return [picture for _, picture in sorted(self._pictures[index].items())] if run_result else []
