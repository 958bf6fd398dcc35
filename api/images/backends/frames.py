"""What a model sees of the picture that a request starts from, and how what it paints is laid back. No torch.

The canvas is the source in the size of the result. Without `inpaint_area` "mask" and without `outpaint` it is the source brought to
width × height as `fit` says (scaled to cover it and cropped at the centre, if it says nothing), and the model sees all of it. With them
it is the source in its own size, grown by `outpaint`: the model sees a part of it, scaled to fit into width × height, and pixels that
the mask leaves black are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image, ImageOps

from api.images.backends.mask_blending import Box, blend, soften
from api.images.spec import AROUND_MASK, BLUR, CONTAIN, COVER, STRETCH, Img2ImgSpec, Outpaint

PAINTED = 128
"""From this value on a pixel of the mask is painted: the pipelines know no half painted ones."""
NOT_GROWN = Outpaint()


@dataclass(frozen=True)
class Frame:
    """The picture of one request, and its mask."""

    canvas: Image.Image
    """RGB, in the size of the result."""
    mask: Image.Image | None
    """L, in the same size: white where the model paints; None where it paints everything."""
    box: Box
    """The part of the canvas that the model sees."""
    size: tuple[int, int]
    """In which it sees it."""
    blur: float = 0.0
    filled: Image.Image | None = None
    """L: where the model is shown the colours around instead of the canvas."""
    grown: Outpaint = NOT_GROWN
    """By how much the canvas is larger than the source."""
    fit: str = COVER
    """How a picture of another shape comes to the canvas."""

    @cached_property
    def inner(self) -> Box:
        """Where the box lies in what the model sees. Around it, where the shapes differ, its edges are repeated."""
        (left, top, right, bottom), (width, height) = self.box, self.size
        scale = min(width / (right - left), height / (bottom - top))
        inner = min(width, max(1, round((right - left) * scale))), min(height, max(1, round((bottom - top) * scale)))
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        return x, y, x + inner[0], y + inner[1]

    @cached_property
    def view(self) -> Image.Image:
        """The picture as the model sees it."""
        view = self._show(self.canvas, Image.Resampling.LANCZOS)
        return view if self.filled is None else fill_from_around(view, self._show(self.filled, Image.Resampling.BILINEAR))

    @cached_property
    def view_mask(self) -> Image.Image | None:
        return None if self.mask is None else self._show(self.mask, Image.Resampling.BILINEAR)

    @cached_property
    def soft_mask(self) -> Image.Image | None:
        """How much of each pixel of the result is what was painted."""
        return None if self.mask is None else soften(self.mask, self.blur)

    def lay_back(self, made: Image.Image) -> Image.Image:
        """What the model painted, in the canvas."""
        return made if self.soft_mask is None else blend(self.canvas, made.crop(self.inner), self.box, self.soft_mask)

    def show_beside(self, picture: Image.Image) -> Image.Image:
        """Another picture as the model sees it: one in the size of the source is grown as that is; any other is brought to the canvas
        as the source is.
        """
        if self.grown.grows and self.is_as_source(picture):
            return self._show(grow(picture, self.grown), Image.Resampling.LANCZOS)
        return self._show(bring_to(self.canvas.size, picture, self.fit), Image.Resampling.LANCZOS)

    def is_as_source(self, picture: Image.Image) -> bool:
        width, height = self.canvas.size
        source = width - self.grown.left - self.grown.right, height - self.grown.top - self.grown.bottom
        return picture.size == source

    def _show(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        part = picture if self.box == (0, 0, *picture.size) else picture.crop(self.box)
        left, top, right, bottom = self.inner
        if part.size != (right - left, bottom - top):
            part = part.resize((right - left, bottom - top), resampling)
        return grow(part, Outpaint(left=left, top=top, right=self.size[0] - right, bottom=self.size[1] - bottom))


def make_frame(spec: Img2ImgSpec, image: Image.Image, mask: Image.Image | None) -> Frame:
    """`image` and `mask` may have any size."""
    size, source = (spec.width, spec.height), flatten(image)
    keeps_size = spec.grows or (mask is not None and spec.inpaint_area == AROUND_MASK)
    painted = None if mask is None else read_mask(mask, source.size, inverted=spec.mask_invert)
    if not keeps_size:
        canvas = bring_to(size, source, spec.fit)
        fitted = None if painted is None else bring_to(size, painted, spec.fit, Image.Resampling.BILINEAR)
        filled = fitted if spec.fill == BLUR else None
        return Frame(canvas, fitted, (0, 0, *size), size, spec.mask_blur, filled, fit=spec.fit)
    grown = (spec.grows and spec.outpaint) or NOT_GROWN
    canvas, border = grow(source, grown), make_border(source.size, grown)
    whole = border.copy()
    if painted is not None:
        whole.paste(painted, (grown.left, grown.top))
    frame = Frame(canvas, whole, (0, 0, *canvas.size), size, spec.mask_blur, whole if spec.fill == BLUR else border, grown)
    if spec.inpaint_area != AROUND_MASK:
        return frame
    assert frame.soft_mask is not None
    box = box_around(frame.soft_mask, spec.mask_padding, size)
    return Frame(canvas, whole, box, size, spec.mask_blur, frame.filled, grown)


def bring_to(
    size: tuple[int, int], picture: Image.Image, fit: str, resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    if fit == STRETCH:
        return picture if picture.size == size else picture.resize(size, resampling)
    if fit == CONTAIN:
        inner = ImageOps.contain(picture, size, resampling)
        left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
        by = Outpaint(left=left, top=top, right=size[0] - inner.width - left, bottom=size[1] - inner.height - top)
        return grow(inner, by)
    return ImageOps.fit(picture, size, resampling)


def read_mask(mask: Image.Image, size: tuple[int, int], *, inverted: bool) -> Image.Image:
    """L, in the size of the picture; one of another size is stretched onto it.

    A mask of 0 and 1 is one of numbers that were never scaled: its ones are white.
    """
    mask = mask.convert("L")
    if brightest(mask) == 1:
        mask = mask.point(lambda value: 255 * value)
    if inverted:
        mask = ImageOps.invert(mask)
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)


def grow(picture: Image.Image, by: Outpaint) -> Image.Image:
    """With its edges repeated outward."""
    if not by.grows:
        return picture
    pixels = np.asarray(picture)
    widths = ((by.top, by.bottom), (by.left, by.right), (0, 0))[: pixels.ndim]
    return Image.fromarray(np.pad(pixels, widths, mode="edge"))


def make_border(size: tuple[int, int], by: Outpaint) -> Image.Image:
    """White around a black picture of this size."""
    border = Image.new("L", (size[0] + by.left + by.right, size[1] + by.top + by.bottom), 255)
    border.paste(0, (by.left, by.top, by.left + size[0], by.top + size[1]))
    return border


def box_around(mask: Image.Image, padding: int, size: tuple[int, int]) -> Box:
    """Around all that is not black, wider by `padding`, and then as far as the canvas reaches in the shape of `size`."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    left, right = max(0, left - padding), min(mask.width, right + padding)
    top, bottom = max(0, top - padding), min(mask.height, bottom + padding)
    ratio = size[0] / size[1]
    width, height = max(right - left, round((bottom - top) * ratio)), max(bottom - top, round((right - left) / ratio))
    left, right = widen(left, right, width, mask.width)
    top, bottom = widen(top, bottom, height, mask.height)
    return left, top, right, bottom


def widen(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """To `wanted`, on both sides alike where there is room, and within 0 to `limit`."""
    length = min(limit, wanted)
    start = min(max(0, low - (length - (high - low)) // 2), limit - length)
    return start, start + length


def fill_from_around(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Under the mask the colours around it, the smoother the further they are from its edge (pull-push interpolation).

    A picture that is masked everywhere is left as it is.
    """
    pixels, weights = np.asarray(picture, np.float32), 1 - np.asarray(mask, np.float32) / 255
    if weights.max() == 0:
        return picture
    filled = _pull_push(pixels * weights[..., None], weights)
    return Image.fromarray(np.clip(filled + 0.5, 0, 255).astype(np.uint8))


def _pull_push(weighted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`weighted`: colours times their weights (0 to 1). Where a weight is below 1, the level of half the size says the rest."""
    height, width = weights.shape
    if weights.min() == 1 or (height, width) == (1, 1):
        return weighted / np.maximum(weights, 1e-6)[..., None]
    half = (width + 1) // 2, (height + 1) // 2
    fewer = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    less = cv2.resize(weighted, half, interpolation=cv2.INTER_AREA)
    above = np.minimum(1, 2 * fewer) / np.maximum(fewer, 1e-6)  # what is half known counts as known
    coarse = _pull_push(less * above[..., None], fewer * above)
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return weighted + (1 - weights)[..., None] * around


def brightest(mask: Image.Image) -> int:
    return int(np.asarray(mask).max())


def flatten(image: Image.Image) -> Image.Image:
    """RGB, transparency laid on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white
