"""What is asked of a job that makes pictures. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from api.catalog import LONGEST_NAME
from api.files.formats import FORMAT_NAMES
from api.images.control.use import MOST_CONTROLS, ControlUse
from api.images.cutout_use import CutoutUse
from api.images.hires import HiresUse
from api.images.ip_adapter.use import MOST_IMAGE_PROMPTS, ImagePromptUse
from api.images.prompt_syntax.reading import texts_read
from api.images.prompt_syntax.syntaxes import COMPEL, SYNTAXES
from api.images.ranking import RankBy
from api.images.scheduler_presets import MOST_STEPS, SCHEDULER_NAMES
from api.images.seeds import LARGEST_SEED, SeedShare, Variation, mixed_seeds, seeds_of
from api.images.upscaling.spec import UpscaleUse
from api.json_types import JsonObject
from api.specs import InputMask, InputTransparentImage, Spec, param

MOST_CANDIDATES = 64
SMALLEST_SIDE, LARGEST_SIDE, SIDE_STEP = 64, 2048, 8
MOST_TAGS, LONGEST_TAG = 20, 50
MOST_LORAS, LARGEST_LORA_WEIGHT = 8, 2
LONGEST_PROMPT = 2000
MOST_KNOWN = 20
"""Ids that an error names."""
LONGEST_MODEL_ID, LONGEST_SCHEDULER = 200, 40
LONGEST_PRESET_NAME = 60
USUAL_STRENGTH = 0.6
USUAL_PADDING, LARGEST_PADDING, LARGEST_BLUR = 32, 512, 64

WHOLE, AROUND_MASK = "whole", "mask"
"""Parts of a picture that a model sees while it paints."""
COVER, STRETCH, CONTAIN = "cover", "stretch", "contain"
"""How a picture comes to another shape."""
ORIGINAL, BLUR, NOISE, EMPTY = "original", "blur", "noise", "empty"
"""What painting begins with."""
LATENT_FILLS = (NOISE, EMPTY)

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


def grown_side() -> Any:
    return param(default=0, minimum=0, maximum=LARGEST_SIDE)


@dataclass(frozen=True, kw_only=True)
class Outpaint:
    """By how many pixels a picture is grown on each side."""

    left: int = grown_side()
    right: int = grown_side()
    top: int = grown_side()
    bottom: int = grown_side()

    @property
    def grows(self) -> bool:
        return any((self.left, self.right, self.top, self.bottom))


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
    lenient_prompts: bool | None = param(
        default=None,
        omitted=True,
        shared=False,
        help="Whether the prompt may be empty, and what it names and isn't here is left out with a warning, instead of an error.",
    )
    model_id: str = param(decided=True, shared=True, max_length=LONGEST_NAME)
    width: int = side("Width")
    height: int = side("Height")
    steps: int = param(decided=True, shared=True, minimum=1, maximum=MOST_STEPS)
    guidance_scale: float = param(decided=True, shared=True, minimum=0, maximum=30)
    seed: int = param(decided=True, shared=False, minimum=0, maximum=LARGEST_SEED, help="Image i uses seed + i.")
    variation: Variation | None = param(
        default=None,
        omitted=True,
        shared=False,
        local_only=True,
        help="Pictures near to another one: their noise is that one's, mixed with the noise of their own seeds.",
    )
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
    ip_adapter: tuple[ImagePromptUse, ...] = param(
        default=(),
        shared=True,
        max_items=MOST_IMAGE_PROMPTS,
        local_only=True,
        help="Pictures that are read as a prompt is (IP-Adapter); each adds what it says.",
    )
    clip_skip: int | None = param(default=None, shared=True, minimum=1, maximum=12, local_only=True)
    hires: HiresUse | None = param(
        default=None,
        omitted=True,
        shared=False,
        local_only=True,
        help="A second pass over the picture, enlarged. Models of the Stable Diffusion 1, 2 and XL families alone have one.",
    )
    upscale: UpscaleUse | None = param(
        default=None, omitted=True, shared=False, local_only=True, help="Each picture that is kept is enlarged, at the end."
    )
    cutout: CutoutUse | None = param(
        default=None,
        omitted=True,
        shared=False,
        local_only=True,
        help="The subject of each picture that is kept, on a transparent ground, at the end: `{}` for the usual model.",
    )
    output_format: str = param(default="png", shared=False, choices=FORMAT_NAMES)
    output_quality: int | None = param(
        default=None,
        omitted=True,
        shared=False,
        minimum=1,
        maximum=100,
        help="Of the file, in a format with loss: a lower one is smaller. Default: the format's own, about 90.",
    )
    tags: tuple[str, ...] = param(default=(), shared=False, max_items=MOST_TAGS, max_length=LONGEST_TAG)
    deterministic: bool = param(default=False, shared=True, local_only=True)
    preset: str | None = param(
        default=None,
        omitted=True,
        shared=False,
        max_length=LONGEST_PRESET_NAME + 12,
        help="The request to begin with: a preset's name, or name@version; see /api/presets/.",
    )

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return self.prompt

    @property
    def asking_texts(self) -> dict[str, tuple[str, ...]]:
        hires_steps = (self.hires.steps,) if self.hires and self.hires.steps else ()
        return {self.prompt: texts_read(self.prompt, self.prompt_syntax, (self.steps, *hires_steps))}

    @property
    def task(self) -> Task:
        return TEXT_TO_IMAGE

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per picture that is made."""
        return seeds_of(self.seed, self.best_of or self.num_images)

    def noise_of(self, number: int) -> tuple[int, tuple[SeedShare, ...]]:
        """Of one of these pictures: the seed that its noise begins with, and those that are mixed in."""
        return mixed_seeds(self.seeds[number], self.variation)

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

    image: InputTransparentImage = param(shared=False, help="base64, a data URL, a multipart file, or the id of an image here")
    fit: str = param(
        default=COVER,
        shared=False,
        choices=(COVER, STRETCH, CONTAIN),
        local_only=True,
        help="How a picture of another shape comes to width × height: it is scaled to cover that and cropped, or stretched, or scaled to "
        "be contained in it with its edges repeated around.",
    )
    mask: InputMask | None = param(
        default=None, omitted=True, shared=False, local_only=True, help="White is painted anew, black is kept."
    )
    mask_invert: bool = param(
        default=False,
        shared=False,
        local_only=True,
        help="Black is painted anew, white is kept. An outpainted border is painted.",
    )
    mask_blur: float = param(
        default=0.0,
        shared=False,
        minimum=0,
        maximum=LARGEST_BLUR,
        local_only=True,
        help="How softly what was painted is laid into the picture: the standard deviation in pixels of the result.",
    )
    inpaint_area: str = param(
        default=WHOLE,
        shared=False,
        choices=(WHOLE, AROUND_MASK),
        local_only=True,
        help="What the model sees at width × height: the whole picture, or the part around the mask. With `mask` the result has "
        "the picture's own size, and its own pixels outside the mask.",
    )
    mask_padding: int = param(
        default=USUAL_PADDING,
        shared=False,
        minimum=0,
        maximum=LARGEST_PADDING,
        local_only=True,
        help="How many of the picture's pixels around the mask the model sees with inpaint_area `mask`.",
    )
    fill: str = param(
        default=ORIGINAL,
        shared=False,
        choices=(ORIGINAL, BLUR, NOISE, EMPTY),
        local_only=True,
        help="What painting begins with under the mask: the picture, the colours around it, noise, or empty latents.",
    )
    outpaint: Outpaint | None = param(
        default=None,
        omitted=True,
        shared=False,
        local_only=True,
        help="Grow the picture and paint the border. The result has the grown size, which may be larger than `width` and `height` may, "
        "and the picture's own pixels inside.",
    )
    strength: float = param(
        default=USUAL_STRENGTH,  # of rows of earlier versions
        decided=True,
        shared=True,
        minimum=0,
        maximum=1,
        help=f"0 keeps the picture, 1 forgets it. Default: {USUAL_STRENGTH}, and with `outpaint` 1.",
    )

    @property
    def grows(self) -> bool:
        return self.outpaint is not None and self.outpaint.grows

    @property
    def steps_run(self) -> int:
        """Of `steps` those that are run: the picture is noised as far as `strength` says, and denoised from there."""
        return int(self.steps * self.strength)

    @property
    def task(self) -> Task:
        return INPAINTING if self.mask or self.grows else IMAGE_TO_IMAGE
