"""Pictures of growing sizes enlarged in tiles: memory beside the pictures themselves, time, and plain torch in the same process.

    OMP_NUM_THREADS=1 python -m benchmarks.upscaling [--sizes 512,1024,2048] [--blocks 1] [--dtype float32]

`starter-upscaler` as it is shipped, and an RRDBNet of Real-ESRGAN's width (random weights) of `--blocks` blocks: the number of blocks
takes time and no memory. Each size runs in a process of its own. Memory: the most that the process held, less what it held before and
the pixels of both pictures. `plain` is one call of the network with the whole picture, of 512², after the same picture in tiles.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import load_file

from api.images.backends.upscalers.tiles import TILE_SIDES, count, enlarge_in_tiles
from api.loading.upscaling.building import network_of
from api.loading.upscaling.networks import UpscalingNetwork
from api.loading.upscaling.rrdbnet import RRDBNet

STARTER = Path(__file__).resolve().parents[1] / "api" / "starter" / "weights" / "starter-upscaler" / "model.safetensors"
PLAIN_SIZE, SCALE = 512, 4
WIDTH, GROWTH = 64, 32
MIB = 2**20
PIXEL_BYTES = 4
"""Of a picture in RGB, as Pillow holds it."""


def make_network(name: str, blocks: int, dtype: torch.dtype) -> UpscalingNetwork:
    torch.manual_seed(0)
    network = network_of(load_file(STARTER)) if name == "starter-upscaler" else RRDBNet(WIDTH, GROWTH, blocks, 2)
    network = network.eval().requires_grad_(False).in_dtype(dtype)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's stubs leave it out


def make_picture(side: int) -> Image.Image:
    """Smooth colours with some noise."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side * 200
    noise = np.random.default_rng(0).integers(0, 56, (side, side), np.uint8)
    return Image.fromarray(np.stack([rows, columns, 200 - rows], axis=-1).astype(np.uint8) + noise[..., None])


def most_held() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


@torch.inference_mode()
def call_plainly(network: UpscalingNetwork, picture: Image.Image) -> np.ndarray:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    made: np.ndarray = network(pixels)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    return made


def measure(options: Namespace) -> dict[str, float]:
    """One network at one size, in this process."""
    network, side = make_network(options.network, options.blocks, getattr(torch, options.dtype)), TILE_SIDES["cpu"]
    picture = make_picture(options.size)
    enlarge_in_tiles(network, picture.crop((0, 0, 32, 32)), SCALE, side, lambda: None)  # what torch makes at its first call
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    made = enlarge_in_tiles(network, picture, SCALE, side, lambda: None)
    found = {"seconds": time.perf_counter() - started, "tiles": float(count(*picture.size, side))}
    pictures = PIXEL_BYTES * (picture.width * picture.height + made.width * made.height)
    found["MiB"] = (most_held() - before - pictures) / MIB
    if options.plain:
        started = time.perf_counter()
        whole = call_plainly(network, picture)
        found["plain"] = time.perf_counter() - started
        found["plain MiB"] = (most_held() - before - 2 * pictures) / MIB
        found["levels"] = float(np.abs(whole.astype(int) - np.asarray(made)).max())
    return found


def run(network: str, size: int, options: Namespace, *, plain: bool) -> dict[str, float]:
    own = ["--network", network, "--size", str(size), "--blocks", str(options.blocks), "--dtype", options.dtype]
    command = [sys.executable, "-m", "benchmarks.upscaling", *own, *(["--plain"] if plain else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(options: Namespace) -> None:
    for network in ("starter-upscaler", "RRDBNet"):
        for size in map(int, options.sizes.split(",")):
            found = run(network, size, options, plain=False)
            print(
                f"{network} {size}² to {size * SCALE}²: {found['MiB']:.0f} MiB beside the pictures, {found['seconds']:.1f} s, "
                f"{found['tiles']:.0f} tiles",
                flush=True,
            )
        found = run(network, PLAIN_SIZE, options, plain=True)
        print(
            f"{network} {PLAIN_SIZE}² at once by plain torch: {found['plain MiB']:.0f} MiB, {found['plain']:.1f} s (in tiles "
            f"{found['seconds']:.1f} s, ratio {found['seconds'] / found['plain']:.2f}); {found['levels']:.0f} levels apart",
            flush=True,
        )


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="512,1024,2048")
    parser.add_argument("--blocks", type=int, default=1, help="of the RRDBNet; Real-ESRGAN has 23")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--network", default="", help="one alone, in this process, at --size")
    parser.add_argument("--size", type=int, default=PLAIN_SIZE)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.network:
        print(json.dumps(measure(options)))
    else:
        report(options)


if __name__ == "__main__":
    main()
