"""What a request to edit a picture comes to: the size that it is worked on in, where it starts, and what does not go together."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ValidationError

from api.catalog import ModelEntry
from api.files.models import StoredFile
from api.images.scheduler_presets import UNET_FAMILIES
from api.images.spec import (
    AROUND_MASK,
    BLUR,
    COVER,
    LARGEST_SIDE,
    LATENT_FILLS,
    ORIGINAL,
    SIDE_STEP,
    SMALLEST_SIDE,
    USUAL_PADDING,
    USUAL_STRENGTH,
    WHOLE,
    Img2ImgSpec,
    Txt2ImgSpec,
)

MOST_ENLARGED = 2
"""A grown picture is worked on in its own size, as long as that has at most so many times the pixels that the model was made for."""

LEAST_SEEN = 0.5
"""Of a picture: where less of it is left by the crop, the client is told."""
FINE_ENOUGH = 0.5
"""The scale at which a grown picture is painted: below it the client is told."""


def check_edits(data: Mapping[str, Any], entry: ModelEntry) -> None:
    """Raises ValidationError that names the field."""
    if data.get("variation") and data["variation"].get("seed") is None:
        refuse("variation", "Name the picture that is varied: its `image` (an id here) or its `seed`.", "required")
    if entry.family not in UNET_FAMILIES:
        if data.get("variation"):
            refuse("variation", f"Variations are not made by {entry.name}: they need SD 1.x, SD 2.x or SDXL.", "unfit_family")
        if data.get("fill") in LATENT_FILLS:
            refuse("fill", f"'{data['fill']}' does not work with {entry.name}; 'original' and 'blur' do.", "unfit_family")
    outpaint = data.get("outpaint")
    if outpaint and "image" in data:  # a preset has none
        width, height = grown_size(data["image"], outpaint)
        if width * height > settings.MAX_IMAGE_PIXELS:
            detail = f"The grown picture would have {width} × {height} pixels; {settings.MAX_IMAGE_PIXELS} are allowed."
            refuse("outpaint", detail, "too_large")


def refuse(field: str, detail: str, code: str) -> None:
    raise ValidationError({field: [detail]}, code=code)


def grown_size(file: StoredFile, outpaint: Mapping[str, int] | None) -> tuple[int, int]:
    by = outpaint or {}
    return (
        file.width + by.get("left", 0) + by.get("right", 0),
        file.height + by.get("top", 0) + by.get("bottom", 0),
    )


def made_size(data: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """Of the picture that comes out; `size`: that is worked in."""
    keeps_size = grows(data) or (data.get("mask") and data.get("inpaint_area") == AROUND_MASK)
    return grown_size(data["image"], data.get("outpaint")) if keeps_size and "image" in data else size


def grows(data: Mapping[str, Any]) -> bool:
    return any((data.get("outpaint") or {}).values())


def default_strength(data: Mapping[str, Any]) -> float:
    """What is grown has nothing of its own to keep."""
    return 1.0 if grows(data) else USUAL_STRENGTH


def working_size(data: Mapping[str, Any], entry: ModelEntry) -> tuple[int, int]:
    """Around a mask the model's own size. Else the shape of the picture, at the number of pixels that the model was trained for."""
    is_grown = grows(data)
    if data.get("inpaint_area") == AROUND_MASK and (is_grown or data.get("mask")):
        return entry.default_size, entry.default_size
    if "image" not in data:  # of a preset, whose requests bring one
        return entry.default_size, entry.default_size
    width, height = grown_size(data["image"], data.get("outpaint"))
    pixels, trained_for = width * height, entry.default_size**2
    wanted = min(max(pixels, trained_for), MOST_ENLARGED * trained_for) if is_grown else trained_for
    scale = math.sqrt(wanted / pixels)
    return side_for(width * scale, is_grown), side_for(height * scale, is_grown)


def side_for(pixels: float, has_to_fit: bool) -> int:
    """The nearest that a request may have; with `has_to_fit` none that is shorter."""
    steps = math.ceil(round(pixels / SIDE_STEP, 3)) if has_to_fit else round(pixels / SIDE_STEP)
    return min(LARGEST_SIDE, max(SMALLEST_SIDE, steps * SIDE_STEP))


def describe_crop(data: Mapping[str, Any], size: tuple[int, int]) -> list[str]:
    """A sentence where most of the picture lies outside the size that it is worked on in: it is scaled to cover it, and cropped."""
    if data["fit"] != COVER or grows(data) or (data.get("mask") and data.get("inpaint_area") == AROUND_MASK):
        return []
    (width, height), (wide, high) = (data["image"].width, data["image"].height), size
    if not is_mostly_cropped((width, height), size):
        return []
    return [f"image: of its {width} × {height} pixels most are cropped, since it is scaled to cover {wide} × {high}."]


def is_mostly_cropped(source: tuple[int, int], size: tuple[int, int]) -> bool:
    """Of a picture that is scaled to cover `size`; both are width and height."""
    scale = max(size[0] / source[0], size[1] / source[1])
    return (size[0] / (source[0] * scale)) * (size[1] / (source[1] * scale)) < LEAST_SEEN


def describe_coarseness(data: Mapping[str, Any], size: tuple[int, int]) -> list[str]:
    """A sentence where a border is painted at less than half of the size that it is laid beside the picture in."""
    if not grows(data) or data.get("inpaint_area") == AROUND_MASK:
        return []
    grown = grown_size(data["image"], data["outpaint"])
    scale = min(size[0] / grown[0], size[1] / grown[1])
    if scale >= FINE_ENOUGH:
        return []
    return [
        f"outpaint: the picture grows to {grown[0]} × {grown[1]}, which the model sees at {scale:.0%} of its size: what is painted is "
        "enlarged, and coarser than the picture. Larger `width` and `height` show it more."
    ]


def idle_edits(spec: Txt2ImgSpec) -> Iterator[str]:
    """In sentences what of a request has no effect."""
    if spec.variation is not None and spec.variation.strength == 1:
        yield "variation has no effect at a strength of 1: the pictures are those of their own seeds."
    if spec.variation is not None and spec.variation.strength == 0 and len(spec.seeds) > 1:
        yield f"A variation of strength 0 is the same picture for every seed: all {len(spec.seeds)} are the same."
    if isinstance(spec, Img2ImgSpec):
        yield from idle_painting(spec)


def idle_painting(spec: Img2ImgSpec) -> Iterator[str]:
    if spec.fit != COVER and (spec.grows or (spec.mask and spec.inpaint_area == AROUND_MASK)):
        yield "fit has no effect: the picture keeps its own size."
    if spec.outpaint is not None and not spec.grows:
        yield "outpaint has no effect: it grows no side."
    asked = {
        "inpaint_area": spec.inpaint_area != WHOLE,
        "mask_padding": spec.mask_padding != USUAL_PADDING,
        "mask_blur": spec.mask_blur > 0,
        "mask_invert": spec.mask_invert,
        "fill": spec.fill != ORIGINAL,
    }
    if not spec.mask and not spec.grows:
        yield from (f"{name} has no effect without a mask." for name, is_asked in asked.items() if is_asked)
        return
    if asked["mask_padding"] and spec.inpaint_area != AROUND_MASK:
        yield f"mask_padding has no effect without inpaint_area '{AROUND_MASK}'."
    if asked["mask_invert"] and not spec.mask:
        yield "mask_invert has no effect without a mask."
    if spec.fill == BLUR and not spec.mask:
        yield "fill 'blur' has no effect without a mask: an outpainted border begins with the colours beside it in any case."
    if spec.fill in LATENT_FILLS and spec.strength == 1:
        yield f"fill '{spec.fill}' has no effect at a strength of 1, where painting begins with noise alone."
