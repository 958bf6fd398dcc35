"""What the admin's page of one job shows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils import timezone

from api.jobs.admin.tools import between, seconds_text
from api.jobs.api.selectors import queue_position
from api.jobs.kinds import get_kind, shown_params
from api.jobs.models import Job
from api.jobs.states import ACTIVE, Status
from api.json_types import Json

BAR_WIDTH = 600
MOST_RETRIES = 20
MOST_CHILDREN = 100


@dataclass(frozen=True)
class Span:
    """One timing as a piece of the bar; `x` and `width` in the SVG's units, `place` picks its colour."""

    name: str
    seconds: float
    text: str
    x: float
    width: float
    place: int


def timing_spans(timings: dict[str, float]) -> list[Span]:
    """The phases one after the other, in the order in which they were measured."""
    measured = [(name, float(seconds)) for name, seconds in timings.items() if float(seconds) > 0]
    total = sum(seconds for _, seconds in measured) or 1.0
    spans, x = [], 0.0
    for place, (name, seconds) in enumerate(measured):
        width = BAR_WIDTH * seconds / total
        spans.append(Span(name, seconds, seconds_text(seconds), round(x, 2), round(width, 2), place % 8))
        x += width
    return spans


def pictures_of(job: Job) -> list[Mapping[str, Json]]:
    """What the job's kind shows of its result under `images`."""
    images = (get_kind(job.kind).render(job) or {}).get("images")
    return (
        [image for image in images if isinstance(image, Mapping) and "thumbnail_url" in image]
        if isinstance(images, list)
        else []
    )


def result_context(job: Job) -> dict[str, object]:
    """What the job's kind shows beside them, and the template for it."""
    kind = get_kind(job.kind)
    described = kind.describe(job) if kind.template else {}
    return {"kind_template": kind.template, **described} if described else {}


def live_context(job: Job) -> dict[str, object]:
    active = job.status in ACTIVE
    return {
        "job": job,
        "active": active,
        "percent": round(100 * job.progress.get("fraction", 0)),
        "position": queue_position(job),
        "waited": seconds_text(between(job.created_at, job.started_at or job.finished_at or timezone.now())),
        "ran": seconds_text(between(job.started_at, job.finished_at or timezone.now())) if job.started_at else "–",
        "cancelling": active and job.status == Status.RUNNING and job.cancel_requested_at is not None,
    }


def detail_context(job: Job) -> dict[str, object]:
    spans, params = timing_spans(job.timings), shown_params(job)
    return {
        **live_context(job),
        "params": [(name, readable(value)) for name, value in params.items() if name not in ("prompt", "negative_prompt")],
        "negative_prompt": params.get("negative_prompt", ""),
        "params_json": pretty(params),
        "result_json": pretty(job.result) if job.result else "",
        "spans": spans,
        "total": seconds_text(sum(span.seconds for span in spans)),
        "bar_width": BAR_WIDTH,
        "pictures": pictures_of(job),
        **result_context(job),
        "children": job.children.order_by("pk").only("id", "kind", "status")[:MOST_CHILDREN],
        "retries": Job.objects.filter(retry_of=job).only("id", "kind", "status")[:MOST_RETRIES],
    }


def readable(value: object) -> str:
    if value is None:
        return "–"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)


def pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
