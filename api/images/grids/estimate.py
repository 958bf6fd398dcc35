"""What a grid comes to: its cells, its size, what of it has no effect, and how long it may take by what the history tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from api.errors import DarkroomError
from api.images.grids.axes import shape_of
from api.images.grids.label_layout import GridLayout, lay_out
from api.images.grids.sizes import result_sizes, steps_of, work_of
from api.images.grids.spec import GridSpec
from api.images.no_effect import find_warnings
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.jobs.kinds import read_spec
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject

MOST_JOBS = 20
"""Of a model, the newest of which its speed is taken."""
PHASES = ("encode", "denoise", "decode")


def sizes_of(spec: GridSpec, images: Sequence[JsonObject | None] = ()) -> list[tuple[int, int]]:
    """Of the pictures that were made; without any, as the requests say."""
    made: list[Any] = [(image["width"], image["height"]) for image in images if image]
    return made or result_sizes(spec.cell_specs)


def cell_warnings(spec: GridSpec) -> Iterator[str]:
    yield from counted([find_warnings(cell) for cell in spec.cell_specs])
    layout = lay_out(spec.axes, sizes_of(spec))
    if layout.scale < 1:
        yield (
            f"The picture shows the cells at {layout.scale:.0%} of their size: it would be too large otherwise. "
            "Each cell's own picture has its full size."
        )


def counted(of_cells: Sequence[Iterable[str]]) -> Iterator[str]:
    """Each sentence once; with the number of cells that it is about, where those are not all."""
    counts = Counter(sentence for sentences in of_cells for sentence in dict.fromkeys(sentences))
    total = len(of_cells)
    for sentence, count in counts.items():
        yield sentence if count == total else f"In {count} of {total} cells: {sentence}"


# ---------------------------------------------------------------- the estimate


def estimate_grid(spec: GridSpec, warnings: Sequence[str]) -> dict[str, Any]:
    cells = spec.cell_specs
    columns, rows, sheets = shape_of(spec.axes)
    layout: GridLayout = lay_out(spec.axes, sizes_of(spec))
    models = [estimate_model(model_id, [cell for cell in cells if cell.model_id == model_id]) for model_id in models_of(cells)]
    seconds = [model["seconds"] for model in models]
    return {
        "cells": len(cells),
        "columns": columns,
        "rows": rows,
        "sheets": sheets,
        "steps": sum(map(steps_of, cells)),
        "models": models,
        "seconds": None if None in seconds else round(sum(seconds), 2),
        "width": layout.width,
        "height": layout.height,
        "scale": round(layout.scale, 4),
        "warnings": list(dict.fromkeys([*warnings, *cell_warnings(spec)])),
    }


def models_of(cells: Sequence[Txt2ImgSpec]) -> list[str]:
    return list(dict.fromkeys(cell.model_id for cell in cells))


def estimate_model(model_id: str, cells: Sequence[Txt2ImgSpec]) -> dict[str, Any]:
    rate = seconds_per_step(model_id)
    seconds = None if rate is None else round(rate * sum(map(work_of, cells)), 2)
    return {"model_id": model_id, "cells": len(cells), "seconds": seconds}


def seconds_per_step(model_id: str) -> float | None:
    """Of one step and one pixel, by the model's newest jobs: the time in which one of them or several were made, over their work."""
    kinds = (Txt2ImgSpec.kind, Img2ImgSpec.kind)
    jobs = Job.objects.filter(status=Status.SUCCEEDED, model_id=model_id, kind__in=kinds).order_by("-id")
    newest = [made for job in jobs[:MOST_JOBS] if (made := made_in(job))]
    work = sum(one.work for one in newest)
    return busy_seconds([(one.start, one.end) for one in newest]) / work if work else None


@dataclass(frozen=True)
class WorkSpan:
    """When a job's pictures were made, in seconds of the clock, and how much work it was."""

    start: float
    end: float
    work: int


def made_in(job: Job) -> WorkSpan | None:
    """None where a row of an earlier version lacks what is needed, or nothing was measured (a hosted model)."""
    seconds = sum(job.timings.get(phase, 0.0) for phase in PHASES)
    try:
        spec = read_spec(job)
    except DarkroomError:
        return None
    if not seconds or job.finished_at is None or not isinstance(spec, Txt2ImgSpec):
        return None
    end = job.finished_at.timestamp()
    return WorkSpan(end - seconds, end, work_of(spec))


def busy_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of them lasted."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
