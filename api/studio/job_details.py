"""All that a person wants to know of one job: what was asked, what came of it, how long it took, why it failed and what to do."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from api.access.principals import Principal, visible_to
from api.access.scopes import SUBMIT
from api.files.models import StoredFile
from api.jobs.admin.detail import live_context, pretty, readable, timing_spans
from api.jobs.admin.tools import seconds_text
from api.jobs.kinds import shown_params
from api.jobs.models import Job
from api.studio.found.pictures import is_tall
from api.studio.gallery.picture import LABELS
from api.studio.inputs import LABELS as INPUT_LABELS
from api.studio.looking.looks import BY_KIND

MOST_RELATED, MOST_PICTURES = 60, 24
OWN_PLACES = ("prompt", "negative_prompt", "image", "images", "mask", "messages", "model_id", "model")
"""Parameters that stand elsewhere on the page, or are its pictures."""

REMEDIES: Mapping[str, Promise] = {
    "out_of_memory": _("Ask for a smaller picture, fewer at once or a smaller model, or unload models that are not needed."),
    "disk_full": _("Delete pictures that are not needed any more, or let the server's owner make room; then try again."),
    "gated": _("The server's owner must accept the model's licence on the hub, and set HF_TOKEN."),
    "offline": _("The server has no way to the hub. Choose a model that is here, or try again when it has."),
    "bad_answer": _("The hub answered with something else. Try again later."),
    "damaged": _("The model's files are damaged. Trying again fetches them anew, where they come from the hub."),
    "broken_model": _("This model's files can't be used. Choose another model."),
    "unsafe_files": _("This model has no files that are safe to read. Choose another model."),
    "unsupported_checkpoint": _("This model's files have a form that is not read here. Choose another model."),
    "missing_package": _("The server's owner must install what the model needs; or choose another model."),
    "not_found": _("Check the model's name, or choose another model."),
    "model_not_found": _("Choose one of the models that are here."),
    "unknown_model": _("Choose one of the models that are here."),
    "unknown_class": _("Leave the classes empty, or name some of those that the model knows."),
    "language_not_installed": _("Choose another language, or let the server's owner install this one."),
    "file_missing": _("Send the picture again."),
    "picture_gone": _("Send the picture again."),
    "not_finite": _("Try another seed, or the model in another precision."),
    "content_filtered": _("Change the prompt, or begin with another picture."),
    "remote_unreachable": _("The other server can't be reached. Try again later."),
    "remote_timeout": _("The other server took too long. Try again later, or ask for less."),
    "attempts_exhausted": _(
        "It has ended its worker each time. Ask for less, or choose another model; the server's log says more."
    ),
    "too_few": _("Rate or compare more pictures first."),
}
BY_STATUS: Mapping[int, Promise] = {
    400: _("Change what is asked, and ask again."),
    500: _("Try again. If it fails each time, the server's log has more, under the job's id."),
    502: _("Try again later."),
    503: _("Try again later."),
    504: _("Try again later, or ask for less."),
}


def remedy_of(error: Mapping[str, Any]) -> Promise | str:
    return REMEDIES.get(error.get("code", ""), BY_STATUS.get(error.get("status", 0), ""))


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
        "remedy": remedy_of(job.error) if job.error else "",
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
