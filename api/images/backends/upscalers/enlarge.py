"""From a picture and a model of the catalog to a picture 2, 3 or 4 times as wide and high.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Protocol

from PIL import Image

from api.catalog import UPSCALING
from api.images.backends.upscalers import tiles
from api.images.backends.upscalers.alpha import fill_transparent
from api.loading.upscaling.building import Upscaler
from api.loading.upscaling.networks import UpscalingNetwork
from api.model_loader import Lease, ModelLoader

SMALLER_TILES = "tiles of at most {} pixels a side"


class Hooks(Protocol):
    """What is told while a picture is enlarged, and asked."""

    def on_load(self, fraction: float, text: str) -> None: ...

    def on_tile(self, done: int, of: int) -> None:
        """Before each tile, and at the end. May raise, which ends the work."""

    def warn(self, text: str) -> None: ...


def enlarge(loader: ModelLoader, model_id: str, picture: Image.Image, scale: int, hooks: Hooks) -> Image.Image:
    """RGB, or RGBA where the picture is. Raises what the loader raises, and what `on_tile` does."""
    with loader.use(model_id, UPSCALING, hooks.on_load) as lease:
        if picture.mode != "RGBA" or lease.pipeline.keeps_pixels:
            return enlarge_rgb(loader, lease, picture, scale, hooks)
        enlarged = enlarge_rgb(loader, lease, fill_transparent(picture), scale, hooks)
        enlarged.putalpha(picture.getchannel("A").resize(enlarged.size, Image.Resampling.LANCZOS))
        return enlarged


def enlarge_rgb(loader: ModelLoader, lease: Lease, picture: Image.Image, scale: int, hooks: Hooks) -> Image.Image:
    upscaler: Upscaler = lease.pipeline
    if upscaler.network is None:
        hooks.on_tile(0, 1)
        enlarged = picture.resize((picture.width * scale, picture.height * scale), upscaler.filter)
        hooks.on_tile(1, 1)
        return enlarged
    side = tiles.TILE_SIDES[lease.device.type]
    enlarged = picture
    for attempt in loader.retry_on_oom(lease, batch_size=side, smaller=SMALLER_TILES):
        with attempt:
            side = max(tiles.GRID, attempt.batch_size // tiles.GRID * tiles.GRID)
            enlarged = run_passes(upscaler.network, picture, scale, side, hooks)
    for note in lease.notes:
        hooks.warn(note)
    return enlarged


def run_passes(network: UpscalingNetwork, picture: Image.Image, scale: int, side: int, hooks: Hooks) -> Image.Image:
    """As often as it takes: a network of a smaller scale than the one that was asked for enlarges its own picture again."""
    passes = plan(network.scale, scale)
    sizes = [(picture.width * before, picture.height * before) for before, _ in passes]
    total, done = sum(tiles.count(*size, side) for size in sizes), 0

    def on_tile() -> None:
        nonlocal done
        hooks.on_tile(done, total)
        done += 1

    for before, after in passes:
        picture = enlarge_pass(network, picture, before, after, side, on_tile)
    hooks.on_tile(total, total)
    return picture


def plan(own: int, scale: int) -> list[tuple[int, int]]:
    """Each pass from how many times the picture's size to how many times it, for a network of the scale `own`."""
    steps = [1]
    while steps[-1] < scale:
        steps.append(min(scale, steps[-1] * own))
    return list(pairwise(steps))


def enlarge_pass(
    network: UpscalingNetwork, picture: Image.Image, before: int, after: int, side: int, on_tile: Callable[[], None]
) -> Image.Image:
    if after % before == 0:
        return tiles.enlarge_in_tiles(network, picture, after // before, side, on_tile)
    larger = tiles.enlarge_in_tiles(network, picture, ceil(after / before), side, on_tile)
    size = picture.width * after // before, picture.height * after // before
    return larger.resize(size, Image.Resampling.LANCZOS)
