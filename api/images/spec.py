"""What is asked of a job that makes pictures. See api/specs.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from api.files.formats import FORMAT_NAMES
from api.specs import InputImage, InputMask, Spec, param

LARGEST_SEED = 2**53 - 1
MAX_CANDIDATES = 64

Task: TypeAlias = Literal["text-to-image", "image-to-image", "inpainting"]
RankBy: TypeAlias = str | Mapping[str, float]
"""A criterion's name, or weights by name."""


@dataclass(frozen=True)
class LoraUse:
    """One adapter of a request."""

    id: str = param(max_length=200)
    weight: float = param(default=1.0, minimum=-2, maximum=2)


@dataclass(frozen=True, kw_only=True)
class Txt2ImgSpec(Spec):
    """A request for pictures from a prompt, everything resolved."""

    kind = "txt2img"

    prompt: str = param(max_length=2000, help="Weights in Compel's syntax: `a (red)++ circle`.")
    negative_prompt: str = param(default="", max_length=2000, blank=True)
    model_id: str = param(decided=True, shared=True, max_length=200)
    width: int = param(
        decided=True, shared=True, minimum=64, maximum=2048, multiple_of=8, help="In pixels; default: the model's own."
    )
    height: int = param(
        decided=True, shared=True, minimum=64, maximum=2048, multiple_of=8, help="In pixels; default: the model's own."
    )
    steps: int = param(decided=True, shared=True, minimum=1, maximum=150)
    guidance_scale: float = param(decided=True, shared=True, minimum=0, maximum=30)
    seed: int = param(decided=True, minimum=0, maximum=LARGEST_SEED, help="Image i uses seed + i.")
    num_images: int = param(default=1, minimum=1, maximum=16)
    best_of: int | None = param(
        default=None, minimum=1, maximum=MAX_CANDIDATES, help="So many are made, and the best num_images are kept."
    )
    rank_by: RankBy | None = param(default=None)
    scheduler: str | None = param(default=None, shared=True, max_length=40, local_only=True)
    loras: tuple[LoraUse, ...] = param(default=(), shared=True, max_items=8, local_only=True)
    clip_skip: int | None = param(default=None, shared=True, minimum=1, maximum=12, local_only=True)
    output_format: str = param(default="png", choices=FORMAT_NAMES)
    tags: tuple[str, ...] = param(default=(), max_items=20, max_length=50)
    deterministic: bool = param(default=False, local_only=True)

    @property
    def task(self) -> Task:
        return "text-to-image"

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per picture that is made."""
        return tuple(self.seed + index for index in range(self.best_of or self.num_images))

    @property
    def runs_alone(self) -> bool:
        """A request of several pictures or candidates fills a batch by itself; a deterministic one must not have neighbours."""
        return self.deterministic or len(self.seeds) > 1

    def shared_values(self) -> dict[str, Any]:
        return {**super().shared_values(), "task": self.task}


@dataclass(frozen=True, kw_only=True)
class Img2ImgSpec(Txt2ImgSpec):
    """A request for pictures from a picture and a prompt; with a mask, only its white parts are painted."""

    kind = "img2img"

    image: InputImage = param(help="base64, a data URL, a multipart file, or the id of an image here")
    mask: InputMask | None = param(default=None, local_only=True, help="White is painted anew, black is kept.")
    strength: float = param(default=0.6, shared=True, minimum=0, maximum=1, help="0 keeps the picture, 1 forgets it.")

    @property
    def task(self) -> Task:
        return "inpainting" if self.mask else "image-to-image"
