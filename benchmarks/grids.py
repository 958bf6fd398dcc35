"""A grid of 24 cells by `starter` through a worker, beside its cells as 24 jobs that are submitted at once, in turns in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.grids [--rounds 20] [--folder /dev/shm]

From the submission to the last job's end, by the clock and of the processor; the ratio is the geometric mean of the pairs' ratios.
Tells also how close a cell's picture is to that of the same request alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.arrivals import ratio
from benchmarks.clip import Spent, timed
from benchmarks.harness import median, parser, prepare, print_machine, print_table

COLOURS, GUIDANCE, STEPS = ("red", "green", "blue", "yellow"), (1.5, 3.0, 5.0), (8, 12)
PROMPT = "a red circle above a blue square"


def cell_specs() -> list[Any]:
    from api.images.spec import Txt2ImgSpec

    shared: dict[str, Any] = {"model_id": "starter", "width": 128, "height": 128, "seed": 7}
    return [
        Txt2ImgSpec(prompt=PROMPT.replace("red", colour), guidance_scale=guidance, steps=steps, **shared)
        for steps in STEPS
        for guidance in GUIDANCE
        for colour in COLOURS
    ]


def grid_spec() -> Any:
    from api.images.grids.spec import GridSpec, as_changes

    axes = [
        {"field": "prompt", "part": "red", "values": list(COLOURS)},
        {"field": "guidance_scale", "values": list(GUIDANCE)},
        {"field": "steps", "values": list(STEPS)},
    ]
    cells = as_changes([spec.to_json() for spec in cell_specs()])
    return GridSpec.from_json({"request": {"prompt": PROMPT, "seed": 7}, "axes": axes, "cells": cells})


def run_all(loop: Any, specs: Sequence[Any]) -> None:
    from api.jobs.lifecycle import submit_job

    for spec in specs:
        submit_job(spec=spec, owner_key="local")
    while loop.run_once():
        pass


def pairs_of(loop: Any, rounds: int) -> list[tuple[Spent, Spent]]:
    """Of the grid and of its cells as jobs, each first in turn."""
    pairs = []
    for number in range(rounds):
        ways = [[grid_spec()], cell_specs()]
        spent = [timed(lambda specs=specs: run_all(loop, specs)) for specs in (ways if number % 2 == 0 else ways[::-1])]
        grid, jobs = spent if number % 2 == 0 else spent[::-1]
        pairs.append((grid, jobs))
    return pairs


def pictures(kind: str, count: int) -> list[np.ndarray]:
    """Of the newest jobs of the kind, in the order in which they were submitted."""
    from api.files.models import StoredFile
    from api.files.services import open_image
    from api.jobs.models import Job

    jobs = list(Job.objects.filter(kind=kind, status="succeeded").order_by("-pk")[:count])[::-1]
    ids = [job.result["images"][0]["id"] for job in jobs]
    return [np.asarray(open_image(StoredFile.objects.get(pk=pk)), float) for pk in ids]


def least_psnr(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    errors = [float(np.mean((one - other) ** 2)) for one, other in zip(some, others, strict=True)]
    return float(10 * np.log10(255**2 / max(*errors, 1e-9)))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=20, help="pairs of a grid and its cells as jobs")
    chosen = options.parse_args()
    data = prepare(chosen, LOAD_MODELS="true")

    from api.jobs.worker.loop import WorkerLoop
    from api.system.worker_runtime import start_runtime

    start_runtime()
    print_machine(data)
    loop = WorkerLoop()
    run_all(loop, [grid_spec()])
    cells = pictures("txt2img", len(cell_specs()))[:4]
    for spec in cell_specs()[:4]:
        run_all(loop, [spec])
    psnr = least_psnr(cells, pictures("txt2img", 4))
    pairs = pairs_of(loop, chosen.rounds)
    rows = []
    for place, name in enumerate(("by the clock", "of the processor")):
        rows.append((f"a grid of 24 cells, {name}", f"{median([grid[place] for grid, _ in pairs]):.0f}"))
        rows.append((f"its cells as 24 jobs, {name}", f"{median([jobs[place] for _, jobs in pairs]):.0f}"))
        ratios = [(grid[place], jobs[place]) for grid, jobs in pairs]
        rows.append((f"… ratio of {len(pairs)} pairs: their mean, with its 95 % interval", ratio(ratios, digits=3)))
        rows.append(("… its median", f"{median([grid / jobs for grid, jobs in ratios]):.3f}"))
    rows.append(("PSNR of cells to the same requests alone, the least of 4, dB", f"{psnr:.1f}"))
    print_table("128×128 pictures by starter: milliseconds from the submission to the last end", rows)


if __name__ == "__main__":
    main()
