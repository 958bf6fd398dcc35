"""The colours of pixels that nobody sees, which a network looks at all the same. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

REACH = 8
"""Pixels: how far colours are carried on."""


def fill_transparent(picture: Image.Image) -> Image.Image:
    """RGB, with the colours around each transparent pixel in its place: what is stored there, often black, would leave a rim."""
    alpha = picture.getchannel("A")
    blur = ImageFilter.GaussianBlur(REACH)
    shares = np.asarray(alpha.filter(blur), np.float32)[..., None] / 255
    weighted = np.asarray(picture.convert("RGBa").filter(blur), np.float32)[..., :3]  # colours times their alpha
    around = np.where(shares > 1 / 255, weighted / np.maximum(shares, 1 / 255), 255).clip(0, 255).astype(np.uint8)
    return Image.composite(picture.convert("RGB"), Image.fromarray(around), alpha)
