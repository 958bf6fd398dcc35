"""The source picture and mask of a request, brought to the size that is made. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from api.images.backends.request import ImageRequest
from api.images.spec import INPAINTING, Img2ImgSpec, Txt2ImgSpec

PAINTED = 128
"""From this value on a pixel of the mask is painted: the pipelines know no half painted ones."""


def source_image(request: ImageRequest) -> Image.Image:
    """RGB, width × height: scaled to cover, cropped at the centre, transparency laid on white."""
    assert request.image is not None
    return ImageOps.fit(flatten(request.image), (request.spec.width, request.spec.height), Image.Resampling.LANCZOS)


def source_mask(request: ImageRequest) -> Image.Image:
    """L, width × height, cut exactly as the picture is; a mask of another size is first stretched onto the picture.

    A mask of 0 and 1 is one of numbers that were never scaled: its ones are white.
    """
    assert request.image is not None
    assert request.mask is not None
    mask = request.mask.convert("L")
    if _brightest(mask) == 1:
        mask = mask.point(lambda value: 255 * value)
    stretched = mask.resize(request.image.size, Image.Resampling.BILINEAR)
    return ImageOps.fit(stretched, (request.spec.width, request.spec.height), Image.Resampling.BILINEAR)


def network_mask(request: ImageRequest, cell: int) -> Image.Image:
    """The mask for a network that paints cells of `cell` × `cell` pixels, and looks at the first pixel of each.

    A mask so fine that none of those pixels is painted is widened to the cells that it touches.
    """
    mask = source_mask(request)
    painted = np.asarray(mask) >= PAINTED
    if painted[::cell, ::cell].any():
        return mask
    rows, columns = painted.shape[0] // cell, painted.shape[1] // cell
    cells = painted[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).any(axis=(1, 3))
    widened = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    return Image.fromarray(np.where(widened, np.uint8(255), np.uint8(0))).crop((0, 0, *mask.size))


def paints_nothing(request: ImageRequest) -> bool:
    """Is there a mask, and nothing of it white enough for the network?"""
    return request.spec.task == INPAINTING and _brightest(source_mask(request)) < PAINTED


def leaves_unchanged(request: ImageRequest) -> bool:
    """Is the picture to stay as it is, so that no step is run for it?"""
    return _runs_no_step(request.spec) or paints_nothing(request)


def notes_on_source(request: ImageRequest) -> list[str]:
    """In sentences what of a source or mask is not as it was sent, or has no effect."""
    notes = notes_on_mask(request)
    if _runs_no_step(request.spec):
        notes.append("steps × strength is less than one step: the picture was left as it is.")
    return notes


def _runs_no_step(spec: Txt2ImgSpec) -> bool:
    return isinstance(spec, Img2ImgSpec) and spec.steps_run < 1


def notes_on_mask(request: ImageRequest) -> list[str]:
    """In sentences what of a mask is not as it was sent, or has no effect."""
    if request.spec.task != INPAINTING:
        return []
    assert request.image is not None
    assert request.mask is not None
    notes = []
    if _brightest(request.mask.convert("L")) == 1:
        notes.append("The mask has the values 0 and 1 only: 1 was read as white.")
    if paints_nothing(request):
        brightest = _brightest(source_mask(request))
        notes.append(
            f"The mask paints nothing, so the picture was left as it is: its brightest value is {brightest} of 255, and "
            f"{PAINTED} or more is painted."
        )
    (width, height), (wide, high) = request.mask.size, request.image.size
    if abs(width * high - height * wide) > max(wide, high):  # more than a pixel
        notes.append(
            f"The mask ({width}×{height}) has another shape than the picture ({wide}×{high}): it was stretched onto it."
        )
    return notes


def keep_outside_mask(made: Image.Image, request: ImageRequest) -> Image.Image:
    """The picture that was made, with the source's own pixels where the mask is black; grey mixes the two.

    The latents alone don't keep them: the autoencoder changes every pixel a little on the way there and back.
    """
    return Image.composite(made, source_image(request), source_mask(request))


def _brightest(mask: Image.Image) -> int:
    return int(np.asarray(mask).max())


def flatten(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
