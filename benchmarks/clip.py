"""Prompt fit: a 1280×800 picture against a prompt by a CLIP of ViT-B/32's size, alone and in a batch, and transformers' plain use of it.

    OMP_NUM_THREADS=2 python -m benchmarks.clip [--single 20] [--batch 32] [--folder /dev/shm]

The weights are random: time does not depend on them. 'From the claim to the result' is a job `clip_score` in a worker: the file is opened
and decoded, the picture prepared, both towers run, rows written. The plain use is CLIPModel in fp32 with its own CLIPProcessor, the
picture opened from the same file; its text is encoded for each call, as ours is.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.harness import median, parser, prepare, print_machine, print_table
from benchmarks.scoring import SIZE, item, screenshot, store

PROMPT = "a news page about boats that return to the harbour with bread"
CATALOG = """
[models.vit-b-32]
name = "CLIP of ViT-B/32's size"
task = "zero-shot-image-classification"
family = "clip"
path = "{folder}"
"""


def build_checkpoint(folder: Path) -> Path:
    """openai/clip-vit-base-patch32 in its shapes (151 million parameters), with a small tokenizer."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    from tests.models.tiny import build_tiny_clip

    build_tiny_clip(folder)
    small = json.loads((folder / "config.json").read_text())["text_config"]
    marks = {name: small[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    text, vision = CLIPTextConfig(**marks).to_dict(), CLIPVisionConfig(patch_size=32).to_dict()
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).half().save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- ours


def submit(images: Sequence[str]) -> None:
    from api.jobs.lifecycle import submit_job
    from api.scoring.spec import ClipScoreSpec

    params = {"images": list(images), "prompts": [PROMPT], "model_id": "vit-b-32"}
    submit_job(spec=ClipScoreSpec.from_json(params), owner_key="local")


Spent = tuple[float, float]
"""Milliseconds on the clock, and on the processor."""


def submit_layouts(images: Sequence[str]) -> None:
    from api.jobs.lifecycle import submit_job
    from api.scoring.spec import ScoreBatchSpec

    params = {"items": [item(image) for image in images], "backend": "clip", "model_id": "vit-b-32"}
    submit_job(spec=ScoreBatchSpec.from_json(params), owner_key="local")


def timed(work: Callable[[], Any]) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - clock) * 1000, (time.process_time() - processor) * 1000


def turn(loop: Any, images: Sequence[str], send: Callable[[Sequence[str]], None] = submit) -> Spent:
    from api.jobs.models import Job

    send(images)
    taken = timed(loop.run_once)
    job = Job.objects.latest("pk")
    if job.status != "succeeded":
        raise RuntimeError(f"{job.status}: {job.error}")
    return taken


def timings() -> str:
    from api.jobs.models import Job

    job = Job.objects.latest("pk")
    share = 1000 / len(job.params["images"])
    return ", ".join(f"{job.timings[name] * share:.1f}" for name in ("decode", "score"))


# ---------------------------------------------------------------- transformers' plain use


def plain_use(folder: Path) -> Callable[[Sequence[Path]], None]:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval(), CLIPProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def run(paths: Sequence[Path]) -> None:
        pictures = [Image.open(path).convert("RGB") for path in paths]
        model(**processor(text=[PROMPT], images=pictures, return_tensors="pt", padding=True)).logits_per_image.tolist()

    return run


# ---------------------------------------------------------------- the run


def spread(images: Sequence[str], paths: Sequence[Path], count: int) -> list[tuple[str, Path]]:
    """So many of them, from the start again after the last."""
    return [(images[place % len(images)], paths[place % len(paths)]) for place in range(count)]


def dtype() -> str:
    from api.model_loader import get_loader

    return str(get_loader().device.dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Figures:
    """Of each the time of one request; batches as often as they were sent. `best`: the fastest batch's decoding and scoring."""

    first: Spent
    singles: list[Spent]
    batches: list[Spent]
    best: str
    layouts: list[Spent]
    layout_batches: list[Spent]
    plain_singles: list[Spent]
    plain_batches: list[Spent]


def measure(loop: Any, images: Sequence[str], folder: Path, single: int) -> Figures:
    """Ours and transformers' plain use in turns, so that a moment's noise meets both."""
    from api.files.models import StoredFile
    from api.files.storage import describe_place

    first = turn(loop, images[:1])
    turn(loop, images)  # the first batch of its shape
    plain = plain_use(folder)
    paths = [Path(describe_place(StoredFile.objects.get(pk=image).name)) for image in images]
    plain(paths[:2])
    pairs = spread(images, paths, single)
    singles = [(turn(loop, [image]), timed(lambda path=path: plain([path]))) for image, path in pairs]
    batches = [(turn(loop, images), timings(), timed(lambda: plain(paths))) for _ in range(3)]
    turn(loop, images[:1], submit_layouts)  # the first reads the backend's sentences
    return Figures(
        first,
        singles=[ours for ours, _ in singles],
        batches=[ours for ours, *_ in batches],
        best=min(batches, key=lambda batch: batch[0])[1],
        layouts=[turn(loop, [image], submit_layouts) for image, _ in pairs],
        layout_batches=[turn(loop, images, submit_layouts) for _ in range(3)],
        plain_singles=[theirs for _, theirs in singles],
        plain_batches=[theirs for *_, theirs in batches],
    )


def rows(found: Figures, single: int, batch: int) -> list[tuple[str, str]]:
    walls = [wall for wall, _ in found.singles]
    return [
        *middle(f"one at a time, median of {single} (wanted: under 120)", found.singles),
        ("… best, worst", f"{min(walls):.1f}, {max(walls):.1f}"),
        ("… the first of the process, with loading", f"{found.first[0]:.0f}"),
        *fastest(f"each of a batch of {batch}, best of 3 (wanted: under 60)", found.batches, batch),
        ("… of it: decode and prepare, both towers", found.best),
        *middle(f"a layout by the backend clip, median of {single} (wanted: under 120)", found.layouts),
        *fastest(f"… each of a batch of {batch} (wanted: under 60)", found.layout_batches, batch),
        *middle(f"transformers in fp32, one at a time, median of {single}", found.plain_singles),
        *fastest(f"… each of a batch of {batch}, best of 3", found.plain_batches, batch),
    ]


def middle(name: str, spent: Sequence[Spent]) -> list[tuple[str, str]]:
    walls, processors = zip(*spent, strict=True)
    return [(name, f"{median(walls):.1f}"), ("… processor time, median", f"{median(processors):.1f}")]


def fastest(name: str, spent: Sequence[Spent], batch: int) -> list[tuple[str, str]]:
    """For each picture of a batch."""
    walls, processors = zip(*spent, strict=True)
    return [(name, f"{min(walls) / batch:.1f}"), ("… processor time", f"{min(processors) / batch:.1f}")]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--single", type=int, default=20, help="pictures one by one")
    options.add_argument("--batch", type=int, default=32, help="pictures in one request, 64 at most")
    chosen = options.parse_args()
    extra = Path(chosen.folder or "/tmp") / "darkroom-benchmark-clip.toml"  # noqa: S108
    data = prepare(chosen, CATALOG_EXTRA=str(extra))
    folder = build_checkpoint(data / "vit-b-32")
    extra.write_text(CATALOG.format(folder=folder))

    from api.jobs.worker.loop import WorkerLoop
    from api.system.worker_runtime import start_runtime

    start_runtime()
    print_machine(data)
    found = measure(WorkerLoop(), store([screenshot(seed) for seed in range(chosen.batch)]), folder, chosen.single)
    print_table(
        f"{SIZE[0]}×{SIZE[1]} pictures against a prompt, ViT-B/32's size, {dtype()}: milliseconds from the claim to the result",
        rows(found, chosen.single, chosen.batch),
    )
    extra.unlink()


if __name__ == "__main__":
    main()
