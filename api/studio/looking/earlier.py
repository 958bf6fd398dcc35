"""The jobs that have looked at a picture, and the pictures that were looked at."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce

from api.access.principals import Principal, visible_to
from api.catalog import UnknownModel
from api.files.models import JobInput, StoredFile
from api.jobs.api.selectors import queue_positions
from api.jobs.models import Job
from api.jobs.states import Status
from api.studio.found.pictures import summary
from api.studio.jobs import MOST_STREAMS, card_context
from api.studio.looking.looks import BY_KIND, LOOKS, MARK, Look
from config.catalog import get_catalog

MOST_JOBS = 60
"""Of one picture."""
MOST_PICTURES, MOST_READ = 18, 90
"""Pictures that are listed, and jobs of each kind among which they are looked for."""
OUR_CHATS = ~Q(kind="chat") | Q(params__metadata__page=MARK["page"])
ONE_LAYOUT = Q(params__items__isnull=True)


@dataclass(frozen=True)
class PastLook:
    """The newest job of one kind as a card, and those before it."""

    item: Look
    card: Mapping[str, Any]
    earlier: list[Job]

    @property
    def note(self) -> str:
        """What the catalog says of the model: what it is for."""
        try:
            return get_catalog().get(self.card["job"].model_id).note
        except UnknownModel:  # a scorer without a model, another server's model
            return ""


@dataclass
class LookedAt:
    """A picture, with what is known of it in words."""

    file: StoredFile
    is_under_way: bool = False
    summaries: list[str] = field(default_factory=list)


def looks_at(principal: Principal, file: StoredFile, dismissed: Collection[str]) -> list[PastLook]:
    """In the order of the page. Failures that were dismissed are left out; whoever asked, and by which API, does not matter."""
    jobs = Job.objects.filter(OUR_CHATS, ONE_LAYOUT, inputs__file=file, kind__in=BY_KIND).exclude(
        pk__in=dismissed, status=Status.FAILED
    )
    by_kind: dict[str, list[Job]] = {}
    for job in visible_to(principal, jobs).order_by("-pk")[:MOST_JOBS]:
        by_kind.setdefault(job.kind, []).append(job)
    newest = [by_kind[item.kind][0] for item in LOOKS if item.kind in by_kind]
    positions, streamed = queue_positions(newest), [job.pk for job in newest if not job.is_final][:MOST_STREAMS]
    return [
        PastLook(
            BY_KIND[job.kind],
            {**card_context(job, is_streamed=job.pk in streamed), "position": positions.get(job.pk)},
            by_kind[job.kind][1:],
        )
        for job in newest
    ]


def looked_at_before(principal: Principal, but: StoredFile | None = None) -> list[LookedAt]:
    """This person's pictures, the one that was looked at last first."""
    pairs = sorted(newest_pairs(principal), key=lambda pair: pair[1], reverse=True)
    jobs_of: dict[uuid.UUID, list[uuid.UUID]] = {}
    for file_id, job_id in pairs:
        if but is None or file_id != but.pk:
            jobs_of.setdefault(file_id, []).append(job_id)
    chosen = dict(list(jobs_of.items())[:MOST_PICTURES])
    files = StoredFile.objects.in_bulk(list(chosen))
    jobs = Job.objects.in_bulk([job for ids in chosen.values() for job in ids])
    return [describe(files[pk], [jobs[job] for job in ids if job in jobs]) for pk, ids in chosen.items() if pk in files]


def newest_pairs(principal: Principal) -> Iterable[tuple[uuid.UUID, uuid.UUID]]:
    """A picture's id and a job's. Each kind by itself, so that its index has the order, however many jobs of other kinds there are."""
    for item in LOOKS:
        newest = newest_of(principal, item).values("pk")[:MOST_READ]
        yield from JobInput.objects.filter(job__in=list(newest.values_list("pk", flat=True))).values_list("file_id", "job_id")


def newest_of(principal: Principal, item: Look) -> QuerySet[Job]:
    """The owner is no bare column, or SQLite would read all of the owner's history to find those of one kind."""
    jobs = Job.objects.alias(owner=Coalesce("owner_key", Value(""))).filter(OUR_CHATS, ONE_LAYOUT, kind=item.kind)
    return jobs.filter(owner=principal.owner_key).order_by("-pk")


def describe(file: StoredFile, jobs: Iterable[Job]) -> LookedAt:
    """The newest job of each kind."""
    newest: dict[str, Job] = {}
    for job in jobs:
        newest.setdefault(job.kind, job)
    inside = [newest[item.kind] for item in LOOKS if item.kind in newest]
    words = [text for job in inside if (text := summary(job))]
    return LookedAt(file, any(not job.is_final for job in inside), words)
