"""The source picture and mask of a request, as the models are given them. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image

from api.images.backends.frames import PAINTED, brightest
from api.images.backends.request import ImageRequest
from api.images.spec import INPAINTING, Img2ImgSpec, Txt2ImgSpec

ON_WHITE = "image: its transparency was laid on white, and the result has none; `cutout` makes a transparent ground."


def source_image(request: ImageRequest) -> Image.Image:
    """RGB, width × height: what the model sees of the picture."""
    return request.frame.view


def source_mask(request: ImageRequest) -> Image.Image:
    """L, width × height, cut exactly as the picture is."""
    assert request.frame.view_mask is not None
    return request.frame.view_mask


def unchanged_image(request: ImageRequest) -> Image.Image:
    """The result where nothing is painted."""
    return request.frame.canvas


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
    return request.spec.task == INPAINTING and brightest(source_mask(request)) < PAINTED


def leaves_unchanged(request: ImageRequest) -> bool:
    """Is the picture to stay as it is, so that no step is run for it?"""
    return _runs_no_step(request.spec) or paints_nothing(request)


def notes_on_source(request: ImageRequest) -> list[str]:
    """In sentences what of a source or mask is not as it was sent, or has no effect."""
    notes = notes_on_mask(request)
    if request.image is not None and is_transparent(request.image):
        notes.append(ON_WHITE)
    if _runs_no_step(request.spec):
        notes.append("steps × strength is less than one step: the picture was left as it is.")
    return notes


def is_transparent(image: Image.Image) -> bool:
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255  # type: ignore[operator]


def _runs_no_step(spec: Txt2ImgSpec) -> bool:
    return isinstance(spec, Img2ImgSpec) and spec.steps_run < 1


def notes_on_mask(request: ImageRequest) -> list[str]:
    """In sentences what of a mask is not as it was sent, or has no effect."""
    if request.mask is None:
        return []
    assert request.image is not None
    notes = []
    if brightest(request.mask.convert("L")) == 1:
        notes.append("The mask has the values 0 and 1 only: 1 was read as white.")
    if paints_nothing(request):
        value = brightest(source_mask(request))
        notes.append(
            f"The mask paints nothing, so the picture was left as it is: its brightest value is {value} of 255, and "
            f"{PAINTED} or more is painted."
        )
    (width, height), (wide, high) = request.mask.size, request.image.size
    if abs(width * high - height * wide) > max(wide, high):  # more than a pixel
        notes.append(
            f"The mask ({width}×{height}) has another shape than the picture ({wide}×{high}): it was stretched onto it."
        )
    return notes


def keep_outside_mask(made: Image.Image, request: ImageRequest) -> Image.Image:
    """The picture that was made, with the source's own pixels where the mask is black; grey mixes the two."""
    return request.frame.lay_back(made)
