"""What a backend is asked for, what it tells while it works, and how it fails. No torch, no Django."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Protocol

from PIL import Image

from api.errors import DarkroomError

TEXT_TO_IMAGE = "text-to-image"
IMAGE_TO_IMAGE = "image-to-image"
INPAINTING = "inpainting"
MAY_DIFFER = frozenset({"prompt", "negative_prompt", "seeds", "image", "mask"})
"""The fields in which the requests of a batch may differ. All others agree: the queue's batch key is made of those."""


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One request, everything resolved: nothing is drawn or defaulted after this.

    `image` and `mask` may have any size: both are scaled and cropped at the centre to cover width × height, keeping their
    proportions (inputs.py); the mask is white where the picture is to be repainted.
    """

    task: str
    """TEXT_TO_IMAGE, IMAGE_TO_IMAGE (needs `image`) or INPAINTING (needs `image` and `mask`)."""
    model_id: str
    prompt: str
    negative_prompt: str = ""
    width: int
    height: int
    steps: int
    guidance_scale: float
    seeds: tuple[int, ...]
    """One per picture."""
    scheduler: str | None = None
    """A name of api.images.scheduler_presets, or None for the model's own."""
    strength: float = 1.0
    """How much of `image` is noised away, 0 (nothing) to 1 (all): `steps` × `strength` steps are run."""
    image: Image.Image | None = None
    mask: Image.Image | None = None
    loras: tuple[tuple[str, float], ...] = ()
    """Adapters by their id in the catalog, each with the strength that it acts with."""
    clip_skip: int | None = None
    """Last layers of the text encoder to leave out, as diffusers counts (AUTOMATIC1111's number is one more)."""
    deterministic: bool = False
    """The same bytes each time on one device and dtype: every picture is made alone."""

    @property
    def batch_fields(self) -> tuple[object, ...]:
        """What must be equal in all requests of a batch."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in MAY_DIFFER)


class Hooks(Protocol):
    """What a backend tells and asks while it works; `index` and the positions of `previews` count the requests of the call."""

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None:
        """`step` of `steps` is done, over all pictures of the call. A preview is a small JPEG; None: no new one."""

    def on_load(self, fraction: float, text: str) -> None:
        """Of fetching and loading the model, 0 to 1, and what is being done in words."""

    def cancelled(self, index: int) -> bool:
        """Asked at every step. When all requests are cancelled the work stops within a step."""

    def measure(self, name: str) -> AbstractContextManager[object]:
        """The seconds inside are added to the timing `name`: load, encode, denoise, decode, remote."""

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
