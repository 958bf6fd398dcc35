"""Fits a picture into a network's input without changing its shape, and takes boxes back.  No torch, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
GREY = 114
"""The border that YOLO models are trained with."""


@dataclass(frozen=True)
class Letterbox:
    """A picture of `picture_size`, scaled to `scaled_size` and laid at `left`, `top` into an input of `size` (width, height)."""

    picture_size: tuple[int, int]
    scaled_size: tuple[int, int]
    left: int
    top: int
    size: tuple[int, int]

    @classmethod
    def of(cls, picture_size: tuple[int, int], size: tuple[int, int]) -> Letterbox:
        scale = min(size[0] / picture_size[0], size[1] / picture_size[1])
        width, height = (max(1, round(side * scale)) for side in picture_size)
        left, top = round((size[0] - width) / 2 - 0.1), round((size[1] - height) / 2 - 0.1)  # an odd pixel goes to the end
        return cls(picture_size, (width, height), left, top, size)

    def apply(self, picture: Image.Image) -> Array:
        """(3, height, width) of 0..1 in float32."""
        pixels: Array = np.asarray(picture)
        if self.scaled_size != self.picture_size:
            pixels = cv2.resize(pixels, self.scaled_size, interpolation=cv2.INTER_LINEAR)
        width, height = self.scaled_size
        canvas = np.full((self.size[1], self.size[0], 3), GREY, np.uint8)
        canvas[self.top : self.top + height, self.left : self.left + width] = pixels
        return np.ascontiguousarray(canvas.transpose(2, 0, 1), np.float32) / np.float32(255)

    def to_picture(self, boxes: Array) -> Array:
        """(N, 4) left, top, right, bottom: from pixels of the input to pixels of the picture."""
        shift = np.array([self.left, self.top] * 2, np.float64)
        scale = np.array([self.picture_size[axis] / self.scaled_size[axis] for axis in (0, 1)] * 2, np.float64)
        return (boxes.astype(np.float64) - shift) * scale

    def to_input(self, boxes: Array) -> Array:
        """The way back from `to_picture`."""
        shift = np.array([self.left, self.top] * 2, np.float64)
        scale = np.array([self.scaled_size[axis] / self.picture_size[axis] for axis in (0, 1)] * 2, np.float64)
        return boxes.astype(np.float64) * scale + shift
