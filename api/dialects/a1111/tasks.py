"""A key's own jobs of this dialect, by the names that its clients gave them."""

import uuid
from collections.abc import Callable

from django.db.models import QuerySet

from api.access.principals import Principal
from api.dialects.models import A1111Task
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from api.jobs.states import ACTIVE, Status
from api.specs import Spec

SOURCE = "a1111"
LONGEST_NAME = 100


def own_jobs(principal: Principal) -> QuerySet[Job]:
    """Never another owner's, not for staff either, nor what came by another API."""
    return Job.objects.filter(owner_key=principal.owner_key, source=SOURCE)


def current_job(principal: Principal) -> Job | None:
    """The oldest of those that run, else of those that wait."""
    oldest = own_jobs(principal).order_by("pk")
    return oldest.filter(status=Status.RUNNING).first() or oldest.filter(status=Status.QUEUED).first()


def count_active(principal: Principal) -> int:
    return own_jobs(principal).filter(status__in=ACTIVE).count()


def naming(name: str, spec: Spec) -> Callable[[Job], None]:
    """Ties a new job to its name, beside what its kind ties to it."""
    link_inputs = get_kind(spec.kind).link_inputs(spec)

    def link(job: Job) -> None:
        if link_inputs is not None:
            link_inputs(job)
        A1111Task.objects.create(job=job, owner_key=job.owner_key, name=name)

    return link


def find_task(principal: Principal, name: str) -> Job | None:
    """The newest of this name; or the job of this id."""
    named = A1111Task.objects.filter(owner_key=principal.owner_key, name=name).order_by("-job_id").first()
    if named is not None:
        return named.job
    try:
        return own_jobs(principal).filter(pk=uuid.UUID(name)).first()
    except ValueError:
        return None


def names_of_waiting(principal: Principal) -> list[str]:
    waiting = own_jobs(principal).filter(status=Status.QUEUED).order_by("pk")
    tasks = A1111Task.objects.filter(owner_key=principal.owner_key, job__status=Status.QUEUED)
    names = dict(tasks.values_list("job_id", "name"))
    return [names.get(pk, str(pk)) for pk in waiting.values_list("pk", flat=True)]
