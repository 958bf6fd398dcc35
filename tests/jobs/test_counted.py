"""What workers and submissions count for /metrics, before it is added to the totals (api/metric_definitions.py)."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from api.jobs.models import Job, Worker
from api.jobs.worker.loop import WorkerLoop
from api.jobs.worker.sweep import sweep
from api.metric_definitions import Key, take_grown

pytestmark = pytest.mark.django_db(transaction=True)


def grown(counts: dict[Key, float], name: str) -> dict[tuple[str, ...], float]:
    """A counter's growth by its labels; of a histogram the number of observations, where they are in one bucket."""
    return {labels: value for (counted, labels, part), value in counts.items() if counted == name and part != "sum"}


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    take_grown()


def test_a_batch_is_counted_from_its_submission_to_its_claim(submit: Callable[..., Job]) -> None:
    for _ in range(3):
        submit("batched")
    worker = WorkerLoop(describe=lambda: {"loaded_models": [{"id": "held"}]})
    worker.run_once()
    submit("noop", model_id="held")
    submit("noop", model_id="absent")
    while worker.run_once():
        pass
    counts = take_grown()
    assert grown(counts, "darkroom_jobs_submitted") == {("batched", ""): 3, ("noop", ""): 2}
    assert grown(counts, "darkroom_claim_jobs") == {("batched",): 1, ("noop",): 2}
    assert grown(counts, "darkroom_claimed_jobs") == {("batched", "none"): 3, ("noop", "true"): 1, ("noop", "false"): 1}
    busy, jobs = (grown(counts, f"darkroom_worker_{each}_seconds")[()] for each in ("busy", "job"))
    assert 0 < busy <= jobs <= 3 * busy


def test_a_worker_that_falls_silent_is_counted_with_the_job_that_it_leaves(submit: Callable[..., Job]) -> None:
    job, gone = submit("noop"), Worker.objects.create(hostname="gone", pid=1)
    Worker.objects.filter(pk=gone.pk).update(heartbeat_at=Now() - timedelta(hours=1))
    token = "0197c0de-0000-7000-8000-000000000000"
    Job.objects.filter(pk=job.pk).update(
        status="running", attempt=1, worker=gone, lease_token=token, lease_expires_at=Now() - timedelta(minutes=1)
    )
    sweep()
    sweep()
    counts = take_grown()
    assert grown(counts, "darkroom_workers_lost") == {(): 1}
    assert grown(counts, "darkroom_job_handbacks") == {("noop", "tried_again"): 1}
