"""Hazards: a drawn road of 848×480 by starter-hazards through the worker, alone and in a batch, and plain onnxruntime with the same file.

    OMP_NUM_THREADS=1 python -m benchmarks.hazards [--single 30] [--folder /dev/shm]

'From the claim to the result': the file is opened and decoded, squeezed, run, decided, and its result is a row. The plain use opens the
same file with Pillow, resizes it, runs the session with its default threads of this process, and takes what is above 0.5.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.clip import Spent, timed
from benchmarks.harness import median, parser, prepare, print_machine, print_table
from benchmarks.scoring import store

BATCH = 16


def submit(image: str) -> None:
    from api.jobs.lifecycle import submit_job
    from api.vision.hazard_spec import HazardSpec

    submit_job(spec=HazardSpec(image=image, model_id="starter-hazards"), owner_key="local")  # type: ignore[arg-type]


def turn(loop: Any, images: Sequence[str]) -> Spent:
    from api.jobs.models import Job

    for image in images:
        submit(image)
    taken = timed(loop.run_once)
    latest = Job.objects.order_by("-pk")[: len(images)]
    if wrong := [f"{job.status}: {job.error}" for job in latest if job.status != "succeeded"]:
        raise RuntimeError(f"{len(wrong)} of {len(latest)} did not succeed: {wrong[0]}")
    return taken


def plain_use(folder: Path) -> Callable[[Path], list[list[str]]]:
    """What a script would do: the classes in each cell."""
    import onnxruntime

    from api.loading.hazard_cells import FILE, read_cells

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session, layout = onnxruntime.InferenceSession(folder / "model.onnx", options), read_cells(folder / FILE)

    def run(path: Path) -> list[list[str]]:
        with Image.open(path) as opened:
            picture = opened.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
        [outputs] = session.run(None, {session.get_inputs()[0].name: pixels})
        scores = 1 / (1 + np.exp(-outputs.reshape(len(layout.boxes), -1)))
        return [[name for name, score in zip(layout.classes, cell, strict=False) if score > 0.5] for cell in scores]

    return run


def drawn_roads(count: int) -> list[Image.Image]:
    from api.starter.world.road import render_road, sample_road

    rng = np.random.default_rng(5)
    return [Image.fromarray(render_road(sample_road(rng), seed)[0]) for seed in range(count)]


def measure(loop: Any, images: Sequence[str], folder: Path, single: int) -> list[tuple[str, str]]:
    from api.files.models import StoredFile
    from api.files.storage import describe_place

    plain = plain_use(folder)
    paths = [Path(describe_place(StoredFile.objects.get(pk=image).name)) for image in images]
    first = turn(loop, images[:1])
    plain(paths[0])
    places = [place % len(images) for place in range(single)]
    pairs = [(turn(loop, [images[place]]), timed(lambda place=place: plain(paths[place]))) for place in places]
    batches = [turn(loop, images) for _ in range(5)]
    ours, theirs = (median([spent[1] for spent in each]) for each in zip(*pairs, strict=True))
    of_batch = min(processor for _, processor in batches) / len(images)
    return [
        ("the first of the process, with loading, by the clock", f"{first[0]:.0f}"),
        (f"one at a time, processor time, median of {single}", f"{ours:.1f}"),
        (f"… plain onnxruntime on the same file, median of {single}", f"{theirs:.1f}"),
        ("… ratio", f"{ours / theirs:.2f}"),
        (f"each of {len(images)} jobs in one batch, processor time, best of 5", f"{of_batch:.1f}"),
        ("… ratio to plain onnxruntime", f"{of_batch / theirs:.2f}"),
    ]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--single", type=int, default=30, help="pictures one by one")
    chosen = options.parse_args()
    data = prepare(chosen, LOAD_MODELS="true")

    from api.jobs.worker.loop import WorkerLoop
    from api.system.worker_runtime import start_runtime
    from config.catalog import get_catalog

    start_runtime()
    print_machine(data)
    folder = get_catalog().get("starter-hazards").path
    assert folder is not None
    found = measure(WorkerLoop(), store(drawn_roads(BATCH)), folder, chosen.single)
    print_table("848×480 pictures by starter-hazards: milliseconds from the claim to the result", found)


if __name__ == "__main__":
    main()
