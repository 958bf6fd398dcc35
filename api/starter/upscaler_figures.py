"""The figures of starter-upscaler on held-out drawings, against Lanczos, and its card."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from api.images.backends.upscalers.tiles import enlarge_in_tiles
from api.loading.upscaling.networks import UpscalingNetwork
from api.starter import world
from api.starter.training.data import EVALUATION_SEED
from api.starter.training.run import log
from api.starter.training.upscaler import BATCH, CONVOLUTIONS, CROP, SCALE, SIZE, WIDTH, make_small
from api.starter.world.posters import render_poster, sample_poster

SEED = EVALUATION_SEED + 70
DRAWINGS, POSTERS = 100, 20
KERNELS = {"bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX}
WHOLE = 12_000
Figures = dict[str, float]


def psnr(one: Image.Image, other: np.ndarray) -> float:
    """In dB, over all pixels and colours."""
    error = np.mean((np.asarray(one, dtype=float) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def held_out_drawings(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(SEED)
    for index in range(count):
        yield world.render(world.sample(rng), SEED * 10 + index, SIZE)


def held_out_posters(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(SEED + 1)
    for _ in range(count):
        poster = render_poster(sample_poster(rng))
        yield poster[: poster.shape[0] // SCALE * SCALE, : poster.shape[1] // SCALE * SCALE]


def evaluate_upscaler(network: UpscalingNetwork, drawings: int = DRAWINGS, posters: int = POSTERS) -> Figures:
    """By what was measured, "drawings bicubic lanczos" and so on: the mean PSNR to what was drawn large."""
    found: Figures = {}
    for kind, pictures in (("drawings", list(held_out_drawings(drawings))), ("posters", list(held_out_posters(posters)))):
        for kernel, resampling in KERNELS.items():
            both = np.array([compare(network, large, resampling) for large in pictures])
            found |= {f"{kind} {kernel} lanczos": float(both[:, 0].mean()), f"{kind} {kernel}": float(both[:, 1].mean())}
            found[f"{kind} {kernel} better"] = float((both[:, 1] > both[:, 0]).mean())
            log(f"{kind}, {kernel}: {found[f'{kind} {kernel}']:.2f} dB, Lanczos {found[f'{kind} {kernel} lanczos']:.2f}")
    return found


def compare(network: UpscalingNetwork, large: np.ndarray, kernel: Image.Resampling) -> tuple[float, float]:
    """PSNR by Lanczos, and by the network."""
    small = Image.fromarray(make_small(large, kernel))
    by_lanczos = small.resize((large.shape[1], large.shape[0]), Image.Resampling.LANCZOS)
    return psnr(by_lanczos, large), psnr(enlarge_in_tiles(network, small, SCALE, WHOLE, lambda: None), large)


CARD = """# starter-upscaler: drawings four times as wide and high

An SRVGGNetCompact (the layout of Real-ESRGAN's small networks, arXiv:2107.10833): {convolutions} convolutions of {width} channels
between the first and the last, {parameters:,} parameters, fp16 on disk. MIT, like the rest of Darkroom. It learnt from drawings of
Darkroom's own world and from posters (`api/starter/world`), drawn large and made small by one of four filters, some softened.

## Training
{steps:,} batches of {batch} crops of {crop} × {crop} pixels in {minutes:.0f} minutes at nice 19 on one of two shared CPU cores; the mean
of |difference|, smoothed, and averaged weights. `manage.py train_starter starter-upscaler --minutes {minutes:.0f}` repeats it: same
pictures and order, but the number of steps depends on the machine.

## Figures
PSNR in dB to what was drawn large, of seeds that training never used: {drawings} drawings ({size} pixels a side) and {posters} posters.

| made small by | Lanczos | starter-upscaler | gain | better than Lanczos |
| --- | --- | --- | --- | --- |
{rows}

## What it can't do
Photographs, faces, textures: it has seen flat colours, gradients and letters, and sharpens edges. Where a picture was soft on purpose,
Lanczos keeps that better (one drawing in five). In the faint noise of a picture that a model made, a grid of four pixels can be seen
when it is looked at closely.
"""


def write_card(folder: Path, network: UpscalingNetwork, figures: Figures, *, steps: int, minutes: float) -> None:
    rows = [
        f"| {kernel}, {kind} | {figures[f'{name} lanczos']:.2f} | {figures[name]:.2f} | "
        f"{figures[name] - figures[f'{name} lanczos']:+.2f} | {100 * figures[f'{name} better']:.0f} % |"
        for kind in ("drawings", "posters")
        for kernel in KERNELS
        for name in [f"{kind} {kernel}"]
    ]
    text = CARD.format(
        convolutions=CONVOLUTIONS,
        width=WIDTH,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        steps=steps,
        batch=BATCH,
        crop=CROP,
        minutes=minutes,
        drawings=DRAWINGS,
        posters=POSTERS,
        size=SIZE,
        rows="\n".join(rows),
    )
    (folder / "README.md").write_text(text)
