"""All that a person wants to know of one job: what was asked, what came of it, how long it took, why it failed and what to do."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.access.principals import Principal, visible_to
from api.access.scopes import SUBMIT
from api.files.models import StoredFile
from api.jobs.admin.detail import live_context, pretty, readable, timing_spans
from api.jobs.admin.tools import seconds_text
from api.jobs.kinds import shown_params
from api.jobs.models import Job
from api.studio.error_advice import advice_on
from api.studio.found.pictures import is_tall
from api.studio.gallery.picture import LABELS
from api.studio.inputs import LABELS as INPUT_LABELS
from api.studio.looking.looks import BY_KIND

MOST_RELATED, MOST_PICTURES = 60, 24
OWN_PLACES = ("prompt", "negative_prompt", "image", "images", "mask", "messages", "model_id", "model")
"""Parameters that stand elsewhere on the page, or are its pictures."""


def details_context(principal: Principal, job: Job) -> dict[str, object]:
    params, spans = shown_params(job), timing_spans(job.timings)
    live, files = live_context(job), list(StoredFile.objects.filter(job_inputs__job=job).order_by("pk")[:MOST_PICTURES])
    looked_at = files[0] if job.kind in BY_KIND and len(files) == 1 else None
    return {
        "asked": [
            (words_of(name), readable(value)) for name, value in params.items() if name not in OWN_PLACES and says(value)
        ],
        "negative_prompt": params.get("negative_prompt", ""),
        "params_json": pretty(params),
        "result_json": pretty(job.result) if job.result else "",
        "facts": list(facts_of(job.result or {})),
        "spans": [(words_of(span.name), span.text, round(span.x, 1), round(span.width, 1), span.place) for span in spans],
        "total": seconds_text(sum(span.seconds for span in spans)),
        "waited": live["waited"],
        "ran": live["ran"],
        "sources": files,
        "file": looked_at,
        "is_tall": looked_at is not None and is_tall(looked_at),
        "remedy": advice_on(job.error) if job.error else "",
        "parent": next(iter(related(principal, Job.objects.filter(children=job))), None),
        "retry_of": next(iter(related(principal, Job.objects.filter(retries=job))), None),
        "children": related(principal, job.children),
        "retries": related(principal, job.retries),
        "may_submit": principal.may(SUBMIT),
    }


def related(principal: Principal, jobs: Any) -> list[Job]:
    return list(visible_to(principal, jobs.order_by("pk")).only("pk", "kind", "status", "prompt")[:MOST_RELATED])


def facts_of(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a result says in one word or number, of kinds that have no presentation of their own."""
    for name, value in result.items():
        if isinstance(value, str | int | float) and says(value):
            yield words_of(name), readable(value)


def says(value: object) -> bool:
    return value not in (None, "", [], {})


def words_of(name: str) -> str:
    """As other pages call it."""
    label = str(LABELS.get(name) or INPUT_LABELS.get(name) or name.replace("_", " "))
    return label if name in LABELS else label[:1].lower() + label[1:]
