"""Layout scores: one 1280×800 screenshot from the worker's claim to its result, a batch of 32, and both against a plain reference.

    OMP_NUM_THREADS=2 python -m benchmarks.scoring [--single 20] [--batch 32] [--folder /dev/shm]

The reference is what interface-metric tools do: each metric by itself, at full size, in numpy, opening the picture anew. It is taken
with and without the harmony of hues, which such code computes for each pixel under each template and angle.
"""

import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageDraw, ImageFont

from benchmarks.harness import median, parser, prepare, print_machine, print_table

SIZE = (1280, 800)
WORDS = ("light", "falls", "across", "harbour", "boats", "return", "with", "bread", "news", "from", "every", "island")


def screenshot(seed: int) -> Image.Image:
    """A page: a bar, a headline, text, a button and three cards with photographs of a kind."""
    random = np.random.default_rng(seed)
    hue = tuple(int(level) for level in random.integers(20, 200, 3))
    image = Image.new("RGB", SIZE, (250, 250, 252))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIZE[0], 64), fill=hue)
    texts = [((40, 20), 24, (255, 255, 255), 3), ((80, 120), 56, (24, 24, 32), 4), ((80, 200), 22, (82, 82, 91), 12)]
    for at, size, color, count in texts:
        draw.text(at, " ".join(random.choice(WORDS, count)), font=ImageFont.load_default(size), fill=color)
    draw.rounded_rectangle((80, 260, 260, 310), 12, fill=hue)
    draw.text((110, 272), "Read more", font=ImageFont.load_default(22), fill=(255, 255, 255))
    for place in range(3):
        left = 80 + 390 * place
        photo = random.integers(0, 256, (12, 17, 3), dtype=np.uint8)
        image.paste(Image.fromarray(photo).resize((340, 240), Image.Resampling.BICUBIC), (left, 360))
        for line in range(4):
            text = " ".join(random.choice(WORDS, 6))[:40]
            draw.text((left, 620 + 28 * line), text, font=ImageFont.load_default(17), fill=(63, 63, 70))
    return image


# ---------------------------------------------------------------- ours


def store(images: Sequence[Image.Image]) -> list[str]:
    from api.files.decoding import encode_png
    from api.files.services import store_upload

    return [str(store_upload(owner_key="local", data=encode_png(image)).pk) for image in images]


def item(image: str) -> dict[str, Any]:
    return {"image": image, "variant": {}, "event_data": {}, "elements": [], "deep": False}


def submit(params: dict[str, Any]) -> None:
    from api.jobs.lifecycle import submit_job
    from api.scoring.spec import ScoreBatchSpec, ScoreSpec

    spec_class = ScoreBatchSpec if "items" in params else ScoreSpec
    submit_job(spec=spec_class.from_json({**params, "backend": "heuristic"}), owner_key="local")


def claim_to_result(loop: Any) -> tuple[float, float, dict[str, float]]:
    """Milliseconds on the clock and on the processor, and the job's own timings, of one turn of the worker's crank."""
    from api.jobs.models import Job

    wall, processor = time.perf_counter(), time.process_time()
    loop.run_once()
    spent = (time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000
    job = Job.objects.latest("pk")
    if job.status != "succeeded":
        raise RuntimeError(f"{job.status}: {job.error}")
    return (*spent, job.timings)


# ---------------------------------------------------------------- the plain reference


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def plain_colorfulness(path: Path) -> float:
    red, green, blue = np.moveaxis(pixels(path), 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def plain_luminance(path: Path) -> float:
    return float((pixels(path) @ [0.2126, 0.7152, 0.0722]).std())


def plain_figure_ground(path: Path) -> float:
    import cv2

    gray = cv2.GaussianBlur(np.round(pixels(path) @ [0.299, 0.587, 0.114]).astype(np.uint8), (0, 0), 2)
    counts = [np.count_nonzero(cv2.Canny(gray, 0.4 * 25.5 * level, 25.5 * level)) for level in range(1, 8)]
    return float(sum((counts[i] - counts[i + 1]) * (1 - i / 6) for i in range(6)) / max(1, counts[0] - counts[6]))


def plain_lab(path: Path) -> np.ndarray:
    levels = pixels(path) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = linear @ matrix.T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=2)


def plain_balance(path: Path) -> float:
    lab = plain_lab(path)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    weight = np.linalg.norm(lab - np.median(border, axis=0), axis=2)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    return float((weight * x).sum() / weight.sum() + (weight * y).sum() / weight.sum() + np.abs(weight - weight[:, ::-1]).sum())


def plain_saliency(path: Path) -> float:
    spectrum = np.fft.fft2(pixels(path).mean(axis=2))
    amplitude = np.log(np.abs(spectrum) + 1e-8)
    around = sum(np.roll(amplitude, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return float(np.argmax(np.abs(np.fft.ifft2(np.exp(amplitude - around + 1j * np.angle(spectrum)))) ** 2))


def plain_harmony(path: Path, step: int = 30) -> float:
    """For each pixel, under each template at every 30th angle only: all 360 would take twelve minutes and more."""
    from api.scoring.backends.harmony import TEMPLATES

    with Image.open(path) as image:
        hue, saturation, _ = np.moveaxis(np.asarray(image.convert("HSV"), dtype=np.float64), 2, 0)
    hue = hue * 360 / 255
    best = np.inf
    for sectors in TEMPLATES.values():
        for angle in range(0, 360, step):
            arcs = [np.maximum(np.abs((hue - angle - center + 180) % 360 - 180) - width / 2, 0) for center, width in sectors]
            best = min(best, float((np.minimum.reduce(arcs) * saturation).sum()))
    return best


PLAIN = (plain_colorfulness, plain_luminance, plain_figure_ground, plain_balance, plain_saliency)


def milliseconds(metrics: Sequence[Callable[[Path], float]], path: Path) -> float:
    started = time.perf_counter()
    for metric in metrics:
        metric(path)
    return (time.perf_counter() - started) * 1000


# ---------------------------------------------------------------- the run


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--single", type=int, default=20, help="screenshots scored one by one")
    options.add_argument("--batch", type=int, default=32, help="screenshots in one batch request, 64 at most")
    chosen = options.parse_args()
    data = prepare(chosen)
    from api.files.models import StoredFile
    from api.files.storage import describe_place
    from api.jobs.worker.loop import WorkerLoop

    print_machine(data)
    loop = WorkerLoop()
    images = store([screenshot(seed) for seed in range(max(chosen.single + 1, chosen.batch))])
    idle = psutil.Process().memory_info().rss / 2**20
    submit(item(images[-1]))
    first, *_ = claim_to_result(loop)
    singles = []
    for image in images[: chosen.single]:
        submit(item(image))
        singles.append(claim_to_result(loop))
    submit({"items": [item(image) for image in images[: chosen.batch]]})
    batch_wall, batch_processor, batch_timings = claim_to_result(loop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paths = [Path(describe_place(StoredFile.objects.get(pk=image).name)) for image in images[:5]]
    plain = [milliseconds(PLAIN, path) for path in paths]
    harmony = milliseconds([plain_harmony], paths[0])
    each = {name: batch_timings[name] * 1000 / chosen.batch for name in ("decode", "score", "save")}
    print_table(
        f"{SIZE[0]}×{SIZE[1]} screenshots, backend heuristic: milliseconds from the claim to the result, overlay on disk",
        [
            (f"one at a time, median of {chosen.single} (wanted: under 100)", f"{median([s[0] for s in singles]):.1f}"),
            ("… best, worst", f"{min(s[0] for s in singles):.1f}, {max(s[0] for s in singles):.1f}"),
            ("… processor time, median", f"{median([s[1] for s in singles]):.1f}"),
            ("… the first of the process, with its imports", f"{first:.1f}"),
            (f"each of a batch of {chosen.batch} (wanted: under 60)", f"{batch_wall / chosen.batch:.1f}"),
            ("… processor time", f"{batch_processor / chosen.batch:.1f}"),
            ("… of it: decode, score, overlay and save", ", ".join(f"{value:.1f}" for value in each.values())),
            ("plain reference, five measures without harmony, median of 5", f"{median(plain):.1f}"),
            ("… its harmony at 12 of 360 angles", f"{harmony:.0f}"),
            ("memory above idle at its peak, MiB (wanted: under 300)", f"{peak - idle:.0f}"),
        ],
    )


if __name__ == "__main__":
    main()
