"""A picture as it is measured: once reduced to 640 px on its long side, with the maps that several measures share."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.scoring.backends.blocks import Box, Found, find_blocks
from api.scoring.overlay_places import LONG_SIDE, page_size

__all__ = ["Box", "Floats", "Page"]

LAB_SIDE = 320
SALIENCY_WIDTH = 64
SALIENCY_HEIGHTS = (8, 256)
FAINTEST = 0.001
FLAT = 1.0  # grey levels: below this spread there is nothing to see, only rounding
LINEAR = np.where(
    np.arange(256) / 255 <= 0.04045, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
"""sRGB (IEC 61966-2-1) to linear light, for each of 256 levels."""

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Page:
    """`rgb`: (H, W, 3) uint8; `scale`: its pixels to one of the picture as sent. The maps are made when first asked for."""

    rgb: NDArray[np.uint8]
    scale: float = 1.0

    @classmethod
    def of(cls, picture: Image.Image) -> "Page":
        """Whole numbers of pixels are averaged first, which Pillow does without copying the picture."""
        image = picture.convert("RGB") if picture.mode != "RGB" else picture
        scale = min(1.0, LONG_SIDE / max(image.size))
        size = page_size(*image.size)
        whole = (max(1, image.width // size[0]), max(1, image.height // size[1]))
        pixels = np.asarray(image.reduce(whole) if whole != (1, 1) else image)
        if pixels.shape[:2] != size[::-1]:
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        return cls(np.ascontiguousarray(pixels), scale)

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @cached_property
    def gray(self) -> NDArray[np.uint8]:
        """Luma by Rec. 601, which is what OpenCV's edges are usually taken from."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def lab(self) -> Floats:
        """CIELAB (D65), L* 0-100, of the page at most LAB_SIDE px long: what is taken from it are means over the page."""
        scale = min(1.0, LAB_SIDE / max(self.width, self.height))
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        small = self.rgb if scale == 1.0 else cv2.resize(self.rgb, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)

    @cached_property
    def hsv(self) -> NDArray[np.uint8]:
        """H in steps of 2° (0-179), S and V 0-255."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2HSV), np.uint8)

    @cached_property
    def luminance(self) -> Floats:
        """WCAG's relative luminance, 0-1."""
        linear = cv2.LUT(self.rgb, LINEAR)
        return np.asarray(cv2.transform(linear, np.array([[0.2126, 0.7152, 0.0722]], np.float32)), np.float32)

    @cached_property
    def weight(self) -> Floats:
        """How much each pixel weighs on the eye: its CIE76 difference to the background, the border's median colour."""
        lab = self.lab
        ground = np.median(np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]]), axis=0)
        apart = np.asarray(lab - ground.astype(np.float32))
        return np.asarray(cv2.sqrt(cv2.transform(cv2.multiply(apart, apart, apart), np.ones((1, 3), np.float32))), np.float32)

    @cached_property
    def saliency(self) -> Floats:
        """0-1, 64 px wide; all 0 for a picture without features. See `spectral_residual`."""
        height = int(np.clip(round(SALIENCY_WIDTH * self.height / self.width), *SALIENCY_HEIGHTS))
        small = cv2.resize(self.gray, (SALIENCY_WIDTH, height), interpolation=cv2.INTER_AREA)
        return spectral_residual(np.asarray(small, np.float64))

    @cached_property
    def elements(self) -> Found:
        """What is found in the pixels: paragraphs, buttons, pictures."""
        return find_blocks(self.gray, self.rgb)


def spectral_residual(gray: Floats) -> Floats:
    """Hou & Zhang, "Saliency Detection: A Spectral Residual Approach", CVPR 2007.

    L = log|F|, R = L − its 3×3 mean, S = |F⁻¹(exp(R + i·arg F))|², smoothed by a Gaussian of σ 2.5, min-max to 0-1.
    The log's ε is relative: frequencies that a drawn page lacks altogether would else outweigh those that it has.
    """
    if gray.std() < FLAT:
        return np.zeros_like(gray)
    spectrum = np.fft.fft2(gray)
    strength = np.abs(spectrum)
    amplitude = np.log(strength + FAINTEST * strength.mean())
    residual = amplitude - cv2.blur(amplitude, (3, 3), borderType=cv2.BORDER_REPLICATE)
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(found, (11, 11), 2.5, borderType=cv2.BORDER_REPLICATE)
    spread = smooth.max() - smooth.min()
    return np.asarray((smooth - smooth.min()) / spread if spread else np.zeros_like(smooth))
