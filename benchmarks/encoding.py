"""Pictures written to files: ours beside Pillow's PNG at levels 1, 2 and 3, and the other formats and the thumbnail.

    OMP_NUM_THREADS=1 python -m benchmarks.encoding [--runs 15]

Processor time of the whole process while one thread writes, so that threads of a library count; each file carries its parameters. The
writers take turns. A photograph-like picture is noise at every scale; the drawn one is of the starter's world, without noise.
"""

import json
import os
import statistics
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.files.encoders import encode_with_pillow
from api.files.formats import FORMATS, encode
from api.images.metadata import encode_image, infotext
from benchmarks.harness import parser, prepare, print_machine, print_table

SEED, SIDES, LOOP = 20_261_127, (512, 1024), 3_000_000
PARAMETERS: dict[str, Any] = {
    "prompt": "a lighthouse above the озеро at sunset, " * 8,
    "negative_prompt": "blurry, low quality",
    "steps": 30,
    "guidance_scale": 7.5,
    "seed": 42,
    "scheduler": "dpmpp_2m_karras",
    "model_id": "stable-diffusion-v1-5",
    "loras": [{"id": "ink", "weight": 0.5}],
}

Writer = Callable[[Image.Image], bytes]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--runs", type=int, default=15)
    options = made.parse_args()
    print_machine(prepare(options))
    for side in SIDES:
        for kind, image in {"photograph-like": photograph(side), "drawn": drawing(side)}.items():
            print_table(f"{kind}, {side}²: ms of CPU (median of {options.runs}) / KiB", measure(image, options.runs))
    print_table(f"A loop of Python, {LOOP:,} turns, by the clock", measure_loop(photograph(SIDES[-1])))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def measure(image: Image.Image, runs: int) -> list[tuple[str, str]]:
    writers = all_writers()
    spent: dict[str, list[float]] = {name: [] for name in writers}
    sizes = {name: len(write(image)) for name, write in writers.items()}  # imports and first allocations
    for _ in range(runs):
        for name, write in writers.items():
            started = time.process_time()
            write(image)
            spent[name].append((time.process_time() - started) * 1000)
    return [(name, f"{statistics.median(spent[name]):6.1f} / {sizes[name] / 1024:6.0f}") for name in writers]


def all_writers() -> dict[str, Writer]:
    plain = {f"PNG, Pillow level {level}": write_with_pillow(level) for level in (1, 2, 3)}
    ours = {f"{row.label}, ours": write_as_jobs_do(name) for name, row in FORMATS.items()}
    return {**plain, **ours, "thumbnail": write_thumbnail}


def write_with_pillow(level: int) -> Writer:
    row = replace(FORMATS["png"], options={"compress_level": level}, encoder=encode_with_pillow)

    def write(image: Image.Image) -> bytes:
        info = PngInfo()
        info.add_text("parameters", infotext(PARAMETERS, *image.size))
        info.add_text("darkroom", json.dumps(PARAMETERS))
        return encode(image, row, pnginfo=info)

    return write


def write_as_jobs_do(name: str) -> Writer:
    return lambda image: encode_image(image, name, PARAMETERS, print)


def write_thumbnail(image: Image.Image) -> bytes:
    """Of 384 pixels, as WebP."""
    from api.files.thumbnails import make_thumbnail

    return make_thumbnail(image)


def measure_loop(image: Image.Image) -> list[tuple[str, str]]:
    """Alone, and beside a thread that writes PNG after PNG. zlib alone never holds the GIL: what it costs is the processor's."""
    pixels, plain, ours = image.tobytes(), write_with_pillow(2), write_as_jobs_do("png")
    seconds = {
        "alone": median_seconds(loop),
        "beside zlib": beside(lambda: zlib.compress(pixels, 1)),
        "beside Pillow level 2": beside(lambda: plain(image)),
        "beside ours": beside(lambda: ours(image)),
    }
    return [(name, f"{taken * 1000:.0f} ms, {taken / seconds['alone']:.2f} ×") for name, taken in seconds.items()]


def loop() -> None:
    for _ in range(LOOP):
        pass


def median_seconds(call: Callable[[], None], runs: int = 7) -> float:
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def beside(write: Callable[[], bytes]) -> float:
    """The loop's seconds while another thread writes."""
    enough = threading.Event()

    def writing() -> None:
        while not enough.is_set():
            write()

    thread = threading.Thread(target=writing)
    thread.start()
    try:
        return median_seconds(loop)
    finally:
        enough.set()
        thread.join()


def photograph(side: int) -> Image.Image:
    """Noise whose strength falls with its scale, as in photographs, and a sensor's."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(SEED)
    pixels = rng.normal(128, 2, (side, side, 3))
    for scale in (2**power for power in range(2, side.bit_length())):
        layer = rng.normal(0, 60 * (4 / scale) ** 0.75, (scale, scale, 3))
        pixels += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def drawing(side: int) -> Image.Image:
    import numpy as np

    from api.starter import world

    rng = np.random.default_rng(SEED)
    return Image.fromarray(world.render(world.sample(rng), SEED, side))


if __name__ == "__main__":
    main()
