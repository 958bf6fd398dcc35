"""Jobs as the studio's pages show them."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone

from api.access.principals import Principal
from api.images.candidates import candidates_context
from api.images.control.spec import PreprocessSpec
from api.images.grids.spec import GridSpec
from api.images.models import GeneratedImage, ImageSource
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.images.upscaling.spec import UpscaleSpec
from api.jobs.admin.tools import between, seconds_text
from api.jobs.api.selectors import queue_position, queue_positions
from api.jobs.identifiers import first_id_of
from api.jobs.models import Job
from api.jobs.states import Status
from api.studio.found.pictures import found_by
from api.studio.result_cards import end_context
from api.system.spec import LoadModelSpec, UnloadModelSpec
from api.vision.cutout.spec import CutoutSpec

FORM_KINDS = (Txt2ImgSpec.kind, Img2ImgSpec.kind)
"""Kinds whose request the form can be filled in with."""
SHOWN_KINDS = (*FORM_KINDS, UpscaleSpec.kind, LoadModelSpec.kind, UnloadModelSpec.kind)
EDIT_KINDS = (Img2ImgSpec.kind, UpscaleSpec.kind, CutoutSpec.kind, PreprocessSpec.kind)
FORMS = {Txt2ImgSpec.kind: "studio", Img2ImgSpec.kind: "studio-edit", GridSpec.kind: "studio-variants"}
"""The pages whose form a kind's request can be filled into."""
COMPARED_KINDS = (Img2ImgSpec.kind, UpscaleSpec.kind, CutoutSpec.kind)
"""Kinds whose results are shown before their source."""
MOST_ACTIVE, MOST_FAILED, MOST_STREAMS = 12, 3, 2
"""A browser opens six connections to a server for all of its tabs: other cards than the first are asked for every other second."""
FAILED_FOR = timedelta(days=1)
TELLING_FRACTION = 0.03
"""Below it the time that is left can't be told."""


@dataclass(frozen=True)
class Before:
    """The picture that a result was made from, and where it is in it."""

    id: uuid.UUID
    place: Sequence[str]
    """Left, top, width and height, in per cent of the result."""


def job_context(job: Job, preview: str = "", *, is_streamed: bool = False) -> dict[str, object]:
    return {**card_context(job, preview, is_streamed=is_streamed), "position": queue_position(job)}


def card_context(job: Job, preview: str = "", *, is_streamed: bool = False) -> dict[str, object]:
    """`is_streamed`: whether the card gets its news pushed; else it asks for them."""
    made = list(GeneratedImage.objects.filter(job=job).order_by("index")) if job.status == Status.SUCCEEDED else []
    return {
        "job": job,
        "active": not job.is_final,
        "is_streamed": is_streamed,
        "stopping": job.status == Status.RUNNING and job.cancel_requested_at is not None,
        "percent": round(100 * job.progress.get("fraction", 0)),
        "time_left": time_left(job),
        "preview": preview,
        "seconds": seconds_text(between(job.created_at, job.finished_at)),
        "candidates": candidates_context(job.result),
        "made": made,
        "before": find_before(job, made),
        "change_address": change_address(job),
        "found": found_by(job),
        "end": end_context(job),
    }


def find_before(job: Job, made: Sequence[GeneratedImage]) -> Before | None:
    """What an edited picture is compared with."""
    if not made or job.kind not in COMPARED_KINDS:
        return None
    link = made[0].source_links.filter(role=ImageSource.Role.IMAGE).select_related("source").first()
    return Before(link.source_id, place_in_grown(link.source, job.params.get("outpaint") or {})) if link else None


def place_in_grown(source: GeneratedImage, grown: Mapping[str, int]) -> Sequence[str]:
    """Where it is in a picture that was grown around it."""
    left, right, top, bottom = (grown.get(side, 0) for side in ("left", "right", "top", "bottom"))
    width, height = source.width + left + right, source.height + top + bottom
    shares = (left / width, top / height, source.width / width, source.height / height)
    return [f"{100 * share:.3f}%" for share in shares]


def change_address(job: Job) -> str:
    """The form that its request fills in; '' where there is none."""
    return f"{reverse(FORMS[job.kind])}?job={job.pk}" if job.kind in FORMS else ""


def time_left(job: Job) -> str:
    """From how long it took so far; '' where that says nothing yet."""
    fraction, elapsed = job.progress.get("fraction", 0), between(job.started_at, timezone.now())
    if job.status != Status.RUNNING or elapsed is None or not TELLING_FRACTION <= fraction < 1:
        return ""
    seconds = max(1, round(elapsed * (1 - fraction) / fraction))
    return f"{seconds} s" if seconds < 60 else seconds_text(seconds)


def cards_to_show(
    principal: Principal, dismissed: Collection[str], kinds: Collection[str] = SHOWN_KINDS
) -> tuple[list[dict[str, object]], int]:
    """This person's jobs that are under way, those that run first, and failures that were not read yet; and how many more there are."""
    running = list(jobs_under_way(principal, Status.RUNNING, kinds)[:MOST_ACTIVE])
    queued = jobs_under_way(principal, Status.QUEUED, kinds)
    waiting = list(queued[: MOST_ACTIVE - len(running) + 1])
    active = [*running, *waiting][:MOST_ACTIVE]
    more = queued.count() - (len(active) - len(running)) if len(running) + len(waiting) > MOST_ACTIVE else 0
    positions = queue_positions(active)
    cards = [
        {**card_context(job, is_streamed=place < MOST_STREAMS), "position": positions.get(job.pk)}
        for place, job in enumerate(active)
    ]
    mine = Job.objects.filter(owner_key=principal.owner_key, kind__in=kinds, parent__isnull=True)
    return cards + [card_context(job) for job in unread_failures(mine, dismissed)], more


def jobs_under_way(principal: Principal, status: Status, kinds: Collection[str]) -> QuerySet[Job]:
    """The newest first. Owner and kind are no bare columns, or SQLite would read all of the owner's history to find the active ones."""
    owner, kind = Coalesce("owner_key", Value("")), Coalesce("kind", Value(""))
    active = Job.objects.filter(status=status, parent__isnull=True).alias(owner=owner, shown_kind=kind)
    return active.filter(owner=principal.owner_key, shown_kind__in=kinds).order_by("-pk")


def unread_failures(mine: QuerySet[Job], dismissed: Collection[str]) -> QuerySet[Job]:
    recent = mine.filter(status=Status.FAILED, pk__gte=first_id_of(timezone.now() - FAILED_FOR), retries__isnull=True)
    return recent.exclude(pk__in=dismissed).order_by("-pk")[:MOST_FAILED]
