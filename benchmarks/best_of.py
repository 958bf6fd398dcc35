"""Best of K against K requests of one picture each, from the worker's claim to the result on disk, prompt by prompt in the same run.

    OMP_NUM_THREADS=2 python -m benchmarks.best_of [--prompts 24] [--candidates 5] [--model starter] [--steps 20]

Three ways to the same candidates (equal seeds): K requests; one request in micro-batches of two; one request in the micro-batches that
the model's catalog entry allows. They take turns at each prompt, in an order that moves on. Prompts are captions of the starter's world.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import parser, prepare, print_machine

SEED = 20_261_121
HESSEL = "clip_score_hessel"


@dataclass
class Way:
    """One way to K candidates; each list has an entry for each prompt. Seconds, MiB, scores on Hessel's scale."""

    name: str
    micro_batch: int
    best_of: bool
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    score_seconds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)


def captions(count: int) -> list[str]:
    import numpy as np

    from api.starter import world

    rng = np.random.default_rng(SEED)
    return [world.describe(world.sample(rng), rng) for _ in range(count)]


# ---------------------------------------------------------------- one measurement


def run_job(loop: Any, fields: dict[str, Any]) -> tuple[float, float, Any]:
    """Seconds from the claim to the result by the clock and of the processor, and the job."""
    from api.access.principals import LOCAL
    from api.images.serializers import Txt2ImgSerializer
    from api.jobs.api.submission import submit
    from api.jobs.models import Job

    serializer = Txt2ImgSerializer(data=fields)
    serializer.is_valid(raise_exception=True)
    job = submit(serializer.resolve(), principal=LOCAL)
    started, processor = time.perf_counter(), time.process_time()
    loop.run_once()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    done = Job.objects.get(pk=job.pk)
    if done.status != "succeeded" or done.warnings:
        raise RuntimeError(f"{done.status}: {done.error} {done.warnings}")
    return seconds, processor, done


def measure(way: Way, loop: Any, fields: dict[str, Any], candidates: int) -> None:
    requests = [{**fields, "best_of": candidates}]
    if not way.best_of:
        requests = [{**fields, "seed": fields["seed"] + number} for number in range(candidates)]
    with micro_batches(fields["model_id"], way.micro_batch), peak_memory() as peak:
        done = [run_job(loop, request) for request in requests]
    results = [job.result for *_, job in done]
    found = [each["scores"][HESSEL] for result in results for each in (result["candidates"] or result["images"])]
    way.seconds.append(sum(seconds for seconds, *_ in done))
    way.processor.append(sum(processor for _, processor, _ in done))
    way.score_seconds.append(sum(job.timings["score"] for *_, job in done))
    way.scores.append(found)
    way.peaks.append(peak[0])


@contextmanager
def micro_batches(model_id: str, size: int) -> Iterator[None]:
    """At most `size` pictures in one call of the model."""
    from api.model_loader import get_loader

    loader = get_loader()
    with loader.use(model_id, "text-to-image") as lease:
        slot, entry = lease.loaded_model, loader.catalog.models[model_id]
    loader.catalog.models[model_id] = slot.entry = dataclasses.replace(entry, max_batch=size)
    try:
        yield
    finally:
        loader.catalog.models[model_id] = slot.entry = entry


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """MiB at the most while inside: of the process, or of the CUDA device where there is one."""
    import torch

    peak = [0.0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak[0] = torch.cuda.max_memory_allocated() / 2**20
        return
    Path("/proc/self/clear_refs").write_text("5")
    yield peak
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak[0] = int(status["VmHWM"].split()[0]) / 1024


# ---------------------------------------------------------------- the table


def spread(values: Sequence[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


def row_of(way: Way, candidates: int) -> list[str]:
    best = [max(scores) for scores in way.scores]
    gains = [max(scores) - statistics.fmean(scores) for scores in way.scores]
    return [
        way.name,
        spread(way.seconds, 2),
        spread([seconds / candidates for seconds in way.seconds], 3),
        spread([seconds / candidates for seconds in way.processor], 3),
        f"{60 * candidates * len(way.seconds) / sum(way.seconds):.0f}",
        spread(best, 2),
        spread(gains, 2),
        f"{1000 * statistics.fmean(way.score_seconds) / candidates:.1f}",
        f"{max(way.peaks):.0f}",
    ]


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        print(
            "  "
            + "  ".join(
                cell.ljust(width) if not place else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )


def print_gain(way: Way, candidates: int) -> None:
    deviations = [statistics.stdev(scores) for scores in way.scores]
    gains = [max(scores) - statistics.fmean(scores) for scores in way.scores]
    ratio = statistics.fmean(gains) / statistics.fmean(deviations)
    means = statistics.fmean(statistics.fmean(scores) for scores in way.scores)
    print(
        f"\nMean of all candidates {means:.2f}; SD within a prompt {statistics.fmean(deviations):.2f}, so the gain is {ratio:.2f} SD"
    )
    print(f"({candidates} draws of a normal distribution would give 1.16 SD at 5, 1.42 at 8).")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--prompts", type=int, default=24)
    options.add_argument("--candidates", type=int, default=5)
    options.add_argument("--model", default="starter")
    options.add_argument("--steps", type=int, default=20)
    chosen = options.parse_args()
    data = prepare(chosen, DJANGO_SETTINGS_MODULE="config.settings", SYNC_WAIT_SECONDS="0")
    from api.jobs.worker.loop import WorkerLoop
    from api.system.worker_runtime import start_runtime, warm_up
    from config.catalog import get_catalog

    print_machine(data)
    start_runtime()
    warm_up(lambda: False)
    loop, own = WorkerLoop(), get_catalog().get(chosen.model).max_batch
    ways = [
        Way(f"{chosen.candidates} requests", own, False),
        Way(f"best of {chosen.candidates}, micro-batch 2", 2, True),
        Way(f"best of {chosen.candidates}, micro-batch {own} (its own)", own, True),
    ]
    for way in ways:
        rehearsal = Way(way.name, way.micro_batch, way.best_of)
        measure(rehearsal, loop, fields_of(chosen, "a red circle", 0), chosen.candidates)
    for number, prompt in enumerate(captions(chosen.prompts)):
        for way in ways[number % 3 :] + ways[: number % 3]:
            measure(way, loop, fields_of(chosen, prompt, number), chosen.candidates)
    print_result(chosen, ways)


def print_result(chosen: Any, ways: Sequence[Way]) -> None:
    what = f"{chosen.model}, {chosen.steps} steps, {chosen.prompts} prompts, {chosen.candidates} candidates each"
    print(f"\n{what}; load {os.getloadavg()[0]:.1f} at the end; best score and gain on Hessel's scale\n")
    times = ["s per prompt", "s per candidate", "of the processor", "candidates/min"]
    head = ["", *times, "best score", "gain over the mean", "score, ms each", "peak MiB"]
    print_rows([head, *(row_of(way, chosen.candidates) for way in ways)])
    print_gain(ways[-1], chosen.candidates)


def fields_of(chosen: Any, prompt: str, number: int) -> dict[str, Any]:
    return {"prompt": prompt, "model_id": chosen.model, "steps": chosen.steps, "seed": SEED + 1000 * number}


if __name__ == "__main__":
    main()
