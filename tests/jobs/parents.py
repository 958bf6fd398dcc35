"""What tests of parent jobs share."""

from collections.abc import Callable

from django.db.models import Count

from api.jobs.models import Job, JobEnding, JobEvent
from api.jobs.states import ACTIVE, Status
from api.jobs.worker.loop import WorkerLoop
from tests.jobs.conftest import now_as
from tests.jobs.invariants import broken_promises

Submit = Callable[..., Job]


def run_all(loop: WorkerLoop) -> None:
    """Until nothing waits for a worker."""
    while loop.run_once():
        pass


def run_batches(loop: WorkerLoop, count: int) -> None:
    for _ in range(count):
        loop.run_once()


def states(parent: Job) -> list[str]:
    """Of its children, in order."""
    return list(parent.children.order_by("pk").values_list("status", flat=True))


def times_queued(job: Job) -> int:
    return JobEvent.objects.filter(job=job, type="status", data__status="queued").count()


def assert_complete(parent: Job, count: int) -> None:
    """It has succeeded with `count` children, each of which ended once, and every promise holds."""
    now = now_as(parent)
    assert now.status == Status.SUCCEEDED, now.error
    assert [pk for pk, _, _ in now.result["children"]] == [str(child.pk) for child in parent.children.order_by("pk")]
    assert len(now.result["children"]) == count
    assert times_queued(parent) >= 2
    assert_settled()


def assert_settled() -> None:
    assert not Job.objects.filter(status__in=ACTIVE).exists()
    assert JobEnding.objects.values("job_id").annotate(times=Count("id")).exclude(times=1).count() == 0
    assert JobEnding.objects.count() == Job.objects.count()
    assert broken_promises() == []
