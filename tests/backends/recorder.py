"""Hooks that write down what a backend tells them, and requests with small defaults."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from api.images.backends.request import ImageRequest
from api.images.control.use import ControlUse
from api.images.ip_adapter.use import ImagePromptUse
from api.images.spec import Img2ImgSpec, LoraUse, Txt2ImgSpec
from api.specs import InputImage, InputMask


class Recorder:
    def __init__(self, cancel_when: Callable[[Recorder, int], bool] = lambda recorder, index: False) -> None:
        self.steps: list[tuple[int, int]] = []
        self.previews: list[tuple[int, bytes]] = []
        self.timings: dict[str, float] = defaultdict(float)
        self.warnings: list[str] = []
        self.warned: list[int | None] = []
        """Which request each of them is for."""
        self.loads: list[tuple[float, str]] = []
        self.unwatched: set[int] = set()
        """Requests whose previews nobody wants."""
        self._cancel_when = cancel_when

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None:
        self.steps.append((step, steps))
        self.previews += [(index, preview) for index, preview in enumerate(previews) if preview]

    def on_load(self, fraction: float, text: str) -> None:
        self.loads.append((fraction, text))

    def wants_preview(self, index: int) -> bool:
        return index not in self.unwatched

    def cancelled(self, index: int) -> bool:
        return self._cancel_when(self, index)

    def add_time(self, name: str, seconds: float, index: int | None = None) -> None:
        self.timings[name] += seconds

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] += time.perf_counter() - started

    def warn(self, text: str, index: int | None = None) -> None:
        self.warnings.append(text)
        self.warned.append(index)


def request(
    *,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    controls: Sequence[Image.Image] = (),
    image_prompts: Sequence[Image.Image] = (),
    **fields: Any,
) -> ImageRequest:
    """A picture of 64 × 64 in two steps. `seeds` follow one another; `loras` are tuples of an id, a weight and those of the parts;
    `control` are the fields of each ControlUse, `ip_adapter` those of each ImagePromptUse.
    """
    defaults: dict[str, Any] = {
        "model_id": "sd1",
        "prompt": "a red circle",
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 5.0,
    }
    seeds = fields.pop("seeds", (1,))
    assert tuple(seeds) == tuple(range(seeds[0], seeds[0] + len(seeds)))
    names = ("id", "weight", "unet", "text")
    loras = tuple(LoraUse(**dict(zip(names, values, strict=False))) for values in fields.pop("loras", ()))
    control = tuple(ControlUse(**use) for use in fields.pop("control", ()))
    ip_adapter = tuple(ImagePromptUse(**use) for use in fields.pop("ip_adapter", ()))
    shown = {"controls": tuple(controls), "image_prompts": tuple(image_prompts)}
    values: dict[str, Any] = {
        **defaults,
        **fields,
        "seed": seeds[0],
        "num_images": len(seeds),
        "loras": loras,
        "control": control,
        "ip_adapter": ip_adapter,
    }
    if image is None:
        return ImageRequest(Txt2ImgSpec(**values), **shown)
    spec = Img2ImgSpec(**values, image=InputImage("a"), mask=InputMask("b") if mask else None)
    return ImageRequest(spec, image, mask, **shown)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    error = np.mean((np.asarray(one, dtype=float) - np.asarray(other, dtype=float)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def painting(width: int = 64, height: int = 64) -> Image.Image:
    """A picture of smooth colours."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns / width, 255 * rows / height
    return Image.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))
