"""What is asked of a job that makes pictures. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from api.catalog import LONGEST_NAME
from api.files.formats import FORMAT_NAMES
from api.images.control.use import MOST_CONTROLS, ControlUse
from api.images.prompt_syntax.syntaxes import COMPEL, SYNTAXES
from api.images.ranking import RankBy
from api.images.scheduler_presets import MOST_STEPS, SCHEDULER_NAMES
from api.json_types import JsonObject
from api.specs import InputImage, InputMask, Spec, param

LARGEST_SEED = 2**53 - 1
MOST_CANDIDATES = 64
SMALLEST_SIDE, LARGEST_SIDE, SIDE_STEP = 64, 2048, 8
MOST_TAGS, LONGEST_TAG = 20, 50
MOST_LORAS, LARGEST_LORA_WEIGHT = 8, 2
LONGEST_PROMPT = 2000
MOST_KNOWN = 20
"""Ids that an error names."""
LONGEST_MODEL_ID, LONGEST_SCHEDULER = 200, 40

Task: TypeAlias = Literal["text-to-image", "image-to-image", "inpainting"]
TEXT_TO_IMAGE: Task = "text-to-image"
IMAGE_TO_IMAGE: Task = "image-to-image"
INPAINTING: Task = "inpainting"


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """One adapter of a request: its id in the catalog, and the strength that it acts with."""

    id: str = param(max_length=LONGEST_NAME)
    weight: float = param(default=1.0, minimum=-LARGEST_LORA_WEIGHT, maximum=LARGEST_LORA_WEIGHT)
    unet: float | None = param(
        default=None,
        omitted=True,
        minimum=-LARGEST_LORA_WEIGHT,
        maximum=LARGEST_LORA_WEIGHT,
        help="Its strength on the denoiser; default: weight.",
    )
    text: float | None = param(
        default=None,
        omitted=True,
        minimum=-LARGEST_LORA_WEIGHT,
        maximum=LARGEST_LORA_WEIGHT,
        help="Its strength on the text encoders; default: weight.",
    )

    @property
    def strengths(self) -> tuple[float, float]:
        """On the denoiser, and on the text encoders."""
        return self.weight if self.unet is None else self.unet, self.weight if self.text is None else self.text


def side(name: str) -> Any:
    text = f"{name} in pixels, a multiple of {SIDE_STEP}; default: the model's own"
    return param(decided=True, shared=True, minimum=SMALLEST_SIDE, maximum=LARGEST_SIDE, multiple_of=SIDE_STEP, help=text)


@dataclass(frozen=True, kw_only=True)
class Txt2ImgSpec(Spec):
    """A request for pictures from a prompt."""

    kind = "txt2img"

    prompt: str = param(shared=False, max_length=LONGEST_PROMPT, help="Weights as `prompt_syntax` says: `a (red)++ circle`.")
    negative_prompt: str = param(default="", shared=False, max_length=LONGEST_PROMPT, blank=True)
    prompt_syntax: str = param(
        default=COMPEL,  # of rows of earlier versions
        decided=True,
        shared=False,
        choices=SYNTAXES,
        local_only=True,
        help="What both prompts are written in: Compel's syntax, AUTOMATIC1111's, no syntax at all, or `auto`, which is "
        "AUTOMATIC1111's where a prompt shows it and Compel's elsewhere. Default: the server's setting PROMPT_SYNTAX.",
    )
    model_id: str = param(decided=True, shared=True, max_length=LONGEST_NAME)
    width: int = side("Width")
    height: int = side("Height")
    steps: int = param(decided=True, shared=True, minimum=1, maximum=MOST_STEPS)
    guidance_scale: float = param(decided=True, shared=True, minimum=0, maximum=30)
    seed: int = param(decided=True, shared=False, minimum=0, maximum=LARGEST_SEED, help="Image i uses seed + i.")
    num_images: int = param(default=1, shared=False, minimum=1, maximum=16)
    best_of: int | None = param(
        default=None,
        shared=False,
        minimum=1,
        maximum=MOST_CANDIDATES,
        help="So many are made, and the best num_images are kept.",
    )
    rank_by: RankBy | None = param(default=None, shared=False)
    scheduler: str | None = param(
        default=None,
        shared=True,
        max_length=LONGEST_SCHEDULER,
        known=SCHEDULER_NAMES,
        local_only=True,
        help=f"One of {', '.join(SCHEDULER_NAMES)}.",
    )
    loras: tuple[LoraUse, ...] = param(default=(), shared=True, max_items=MOST_LORAS, local_only=True)
    control: tuple[ControlUse, ...] = param(
        default=(), shared=True, max_items=MOST_CONTROLS, local_only=True, help="Maps that steer what is where (ControlNet)."
    )
    clip_skip: int | None = param(default=None, shared=True, minimum=1, maximum=12, local_only=True)
    output_format: str = param(default="png", shared=False, choices=FORMAT_NAMES)
    tags: tuple[str, ...] = param(default=(), shared=False, max_items=MOST_TAGS, max_length=LONGEST_TAG)
    deterministic: bool = param(default=False, shared=True, local_only=True)

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return self.prompt

    @property
    def task(self) -> Task:
        return TEXT_TO_IMAGE

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per picture that is made."""
        return tuple(self.seed + index for index in range(self.best_of or self.num_images))

    @property
    def runs_alone(self) -> bool:
        """A request of several pictures or candidates fills a batch by itself; a deterministic one must not have neighbours."""
        return self.deterministic or self.num_images > 1 or self.best_of is not None

    def shared_values(self) -> JsonObject:
        return {**super().shared_values(), "task": self.task}


@dataclass(frozen=True, kw_only=True)
class Img2ImgSpec(Txt2ImgSpec):
    """A request for pictures from a picture and a prompt; with a mask, only its white parts are painted."""

    kind = "img2img"

    image: InputImage = param(shared=False, help="base64, a data URL, a multipart file, or the id of an image here")
    mask: InputMask | None = param(
        default=None, omitted=True, shared=False, local_only=True, help="White is painted anew, black is kept."
    )
    strength: float = param(default=0.6, shared=True, minimum=0, maximum=1, help="0 keeps the picture, 1 forgets it.")

    @property
    def steps_run(self) -> int:
        """Of `steps` those that are run: the picture is noised as far as `strength` says, and denoised from there."""
        return int(self.steps * self.strength)

    @property
    def task(self) -> Task:
        return INPAINTING if self.mask else IMAGE_TO_IMAGE
