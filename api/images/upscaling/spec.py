"""What is asked of a job that enlarges a picture. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.catalog import LONGEST_NAME
from api.files.formats import FORMAT_NAMES
from api.specs import InputTransparentImage, Spec, param

SMALLEST_SCALE, LARGEST_SCALE, USUAL_SCALE = 2, 4, 2
LARGEST_SIDE = 65_500
"""Of a result whose size is named."""


def scale_param() -> Any:
    return param(
        default=USUAL_SCALE,
        minimum=SMALLEST_SCALE,
        maximum=LARGEST_SCALE,
        help="How many times as wide and high, whatever the model's own scale is: Lanczos makes up the difference.",
    )


def size_param(side: str) -> Any:
    return param(
        default=None,
        omitted=True,
        minimum=1,
        maximum=LARGEST_SIDE,
        help=f"The {side} of the result, both or neither: what was enlarged is brought to this size, and cropped from its middle where its "
        "shape is another. `scale` then is, where it isn't given, what comes up to that size.",
    )


def upscaler_param() -> Any:
    return param(
        decided=True,
        max_length=LONGEST_NAME,
        help="`lanczos`, `nearest`, or an upscaler of the catalog or the library; default: the server's setting DEFAULT_UPSCALE_MODEL.",
    )


@dataclass(frozen=True, kw_only=True)
class UpscaleBlend:
    """A second upscaler, whose picture is mixed into the first one's."""

    model_id: str = param(max_length=LONGEST_NAME, help="An upscaler, as `model_id` beside it.")
    weight: float = param(default=0.5, minimum=0, maximum=1, help="Its share: at 1 nothing is left of the first.")


def blend_param() -> Any:
    return param(
        default=None, omitted=True, help="A second upscaler, whose picture is mixed in: the one's detail, the other's calm."
    )


@dataclass(frozen=True, kw_only=True)
class UpscaleSpec(Spec):
    """A request for a picture that is 2, 3 or 4 times as wide and high, or of a size that it names."""

    kind = "upscale"

    image: InputTransparentImage = param(help="base64, a data URL, a multipart file, or the id of an image here")
    model_id: str = upscaler_param()
    blend: UpscaleBlend | None = blend_param()
    scale: int = scale_param()
    width: int | None = size_param("width")
    height: int | None = size_param("height")
    output_format: str = param(default="png", choices=FORMAT_NAMES)

    @property
    def history_model(self) -> str:
        return self.model_id


@dataclass(frozen=True, kw_only=True)
class UpscaleUse:
    """What is done with each picture of a request that is kept: it is enlarged as `POST /api/upscale/` does it."""

    model_id: str = upscaler_param()
    blend: UpscaleBlend | None = blend_param()
    scale: int = scale_param()
