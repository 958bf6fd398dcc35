"""Parents and their children: locks in one order, and counts.

A transaction that ends a child changes the child and its parent, and one that cancels a parent the other way round. So that they never
wait for each other, everybody locks from the top down: a job's ancestors before the job itself.
"""

import uuid
from typing import Any

from django.db.models import Count, Q

from api.jobs.models import Job
from api.jobs.states import FINAL


def lock_ancestors(job: Job) -> None:
    """Until the transaction ends; nothing for a job without a parent. Whose child a job is never changes."""
    parent = Job.objects.only("parent_id").filter(pk=job.parent_id).first() if job.parent_id else None
    if parent is not None:
        lock_ancestors(parent)
        Job.objects.select_for_update().filter(pk=parent.pk).values_list("pk").first()


def progress_of_children(parent_id: uuid.UUID) -> dict[str, Any]:
    """How many have ended, as the progress of their parent."""
    children = Job.objects.filter(parent_id=parent_id).order_by()
    count = children.aggregate(ended=Count("pk", filter=Q(status__in=FINAL)), all=Count("pk"))
    return {"fraction": round(count["ended"] / count["all"], 4), "step": count["ended"], "steps": count["all"]}
