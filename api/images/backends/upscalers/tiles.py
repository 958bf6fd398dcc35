"""A network over a picture of any size, tile by tile.  [torch; no Django]

Each tile is given the pixels around it that the network looks at, as far as the picture has them: at the picture's own edges the network
sees its own padding, as it would in the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from PIL import Image

from api.loading.upscaling.networks import UpscalingNetwork

TILE_SIDES = {"cpu": 192, "mps": 288, "cuda": 576}
"""Pixels of the picture, by the device's type; halved where memory runs out."""
GRID = 12
"""Tiles begin at multiples of this, so that they begin at whole pixels after any of the scales, 2, 3 and 4."""
RESAMPLED = 4
"""Pixels of the picture around a tile that the filter looks at where the network enlarges more than was asked for."""


@dataclass(frozen=True)
class Tile:
    """Pixels [left, right) × [top, bottom) of the picture."""

    left: int
    top: int
    right: int
    bottom: int

    def scaled(self, scale: int) -> Tile:
        return Tile(self.left * scale, self.top * scale, self.right * scale, self.bottom * scale)

    def widened(self, margin: int, width: int, height: int) -> Tile:
        """By `margin` on each side, within the picture."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        return Tile(left, top, min(width, self.right + margin), min(height, self.bottom + margin))

    def within(self, outer: Tile) -> Tile:
        """In coordinates of `outer`."""
        return Tile(self.left - outer.left, self.top - outer.top, self.right - outer.left, self.bottom - outer.top)

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.right, self.bottom


def split(width: int, height: int, side: int) -> Iterator[Tile]:
    """Row by row. Tiles of a row are about as wide as each other, and at most `side`, which is a multiple of GRID."""
    for top, bottom in zip(*_edges(height, side), strict=True):
        for left, right in zip(*_edges(width, side), strict=True):
            yield Tile(left, top, right, bottom)


def count(width: int, height: int, side: int) -> int:
    return ceil(width / side) * ceil(height / side)


def _edges(length: int, side: int) -> tuple[list[int], list[int]]:
    pieces = ceil(length / side)
    step = min(side, ceil(length / pieces / GRID) * GRID)
    begins = list(range(0, length, step))
    return begins, [*begins[1:], length]


def enlarge_in_tiles(
    network: UpscalingNetwork, picture: Image.Image, scale: int, side: int, on_tile: Callable[[], None]
) -> Image.Image:
    """RGB, `scale` times as wide and high, which is at most the network's own scale. `on_tile` is called before each tile and may raise."""
    pixels = np.asarray(picture)
    enlarged = Image.new("RGB", (picture.width * scale, picture.height * scale))
    for tile in split(*picture.size, side):
        on_tile()
        enlarged.paste(enlarge_tile(network, pixels, tile, scale), tile.scaled(scale).box)
    return enlarged


def enlarge_tile(network: UpscalingNetwork, pixels: np.ndarray, tile: Tile, scale: int) -> Image.Image:
    """The tile's own pixels. Where the network enlarges by more than `scale`, Lanczos brings them to it."""
    height, width = pixels.shape[:2]
    kept = tile if scale == network.scale else tile.widened(RESAMPLED, width, height)
    seen = kept.widened(network.margin, width, height)  # by multiples of the divisor, as tiles begin at some
    made = run(network, pixels[seen.top : seen.bottom, seen.left : seen.right])
    inside = kept.within(seen).scaled(network.scale)
    picture = Image.fromarray(made[inside.top : inside.bottom, inside.left : inside.right])
    if scale == network.scale:
        return picture
    own, target = tile.within(kept).scaled(network.scale), tile.scaled(scale)
    return resize_part(picture, own, (target.right - target.left, target.bottom - target.top))


def resize_part(picture: Image.Image, part: Tile, size: tuple[int, int]) -> Image.Image:
    """By Lanczos, first in width and then in height: Pillow chooses the order by a picture's shape, and rounds in between."""
    width, height = size
    narrow = picture.resize((width, picture.height), Image.Resampling.LANCZOS, box=(part.left, 0, part.right, picture.height))
    return narrow.resize((width, height), Image.Resampling.LANCZOS, box=(0, part.top, width, part.bottom))


@torch.inference_mode()
def run(network: UpscalingNetwork, pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) to (scale · h, scale · w, 3), uint8. The picture's last pixels are repeated to what the network can divide."""
    height, width = pixels.shape[:2]
    missing = [(-length) % network.divisor for length in (height, width)]
    padded = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else pixels
    device = next(network.parameters()).device
    given = torch.from_numpy(np.array(padded)).to(device).permute(2, 0, 1)[None].float() / 255
    made = network(given)[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
    return made[: height * network.scale, : width * network.scale].contiguous().cpu().numpy()
