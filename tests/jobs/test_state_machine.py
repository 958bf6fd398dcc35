"""Any order of any calls, by workers that are alive, slow or dead, keeps every promise of tests/jobs/invariants.py."""

import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.children import wait_for_children
from api.jobs.errors import LeaseLost
from api.jobs.models import Job, JobEvent, Worker
from api.jobs.running import ChildJob
from api.jobs.states import ACTIVE, FINAL
from api.jobs.worker.sweep import sweep
from tests.jobs.invariants import broken_promises
from tests.rows import spec_of


class Queue(RuleBasedStateMachine):
    """`held` are jobs as some worker once claimed them: still its own, or long since lost. It acts on them all the same."""

    jobs = Bundle("jobs")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        Job.objects.all().delete()
        self.worker = Worker.objects.create(hostname="here", pid=1)
        self.final: dict[uuid.UUID, tuple[str, object]] = {}

    @rule(target=jobs, kind=st.sampled_from(["noop", "batched"]), priority=st.integers(-1, 1))
    def submit(self, kind: str, priority: int) -> Job:
        return lifecycle.submit_job(spec=spec_of(kind), owner_key="alice", priority=priority)

    @rule(target=held)
    def claim(self) -> object:
        Job.objects.filter(status="queued").update(available_at="2020-01-01T00:00:00Z")
        return multiple(*lifecycle.claim_jobs(worker=self.worker))

    @rule(job=held)
    def finish(self, job: Job) -> None:
        self.attempt(lambda: lifecycle.finish_job(job=job, record=lambda _: {"attempt": job.attempt}))

    @rule(job=held)
    def fail(self, job: Job) -> None:
        self.attempt(lambda: lifecycle.fail_job(job=job, error=DarkroomError("refused", 422, "No.")))

    @rule(job=held, type=st.sampled_from(["progress", "preview", "token"]))
    def emit(self, job: Job, type: str) -> None:
        self.attempt(lambda: lifecycle.emit_event(job=job, type=type, data={}, progress={"fraction": 0.5}))

    @rule(job=held, blameless=st.booleans())
    def hand_back(self, job: Job, blameless: bool) -> None:
        self.attempt(lambda: lifecycle.hand_back(job=job, reason="It stopped", blameless=blameless))

    @rule(job=held)
    def acknowledge(self, job: Job) -> None:
        self.attempt(lambda: lifecycle.acknowledge_cancel(job=job))

    @rule(job=held, count=st.integers(1, 3))
    def wait(self, job: Job, count: int) -> None:
        self.attempt(lambda: wait_for_children(job=job, children=[ChildJob("noop", {})] * count))

    @rule(job=jobs)
    def cancel(self, job: Job) -> None:
        lifecycle.cancel_job(job=job)

    @rule(job=jobs)
    def lose_the_lease(self, job: Job) -> None:
        leased = Job.objects.filter(
            pk=job.pk, status="running", lease_token__isnull=False
        )  # a job that waits for children has none
        leased.update(lease_expires_at="2020-01-01T00:00:00Z")
        sweep()

    @rule()
    def the_worker_dies(self) -> None:
        lifecycle.release_worker(self.worker.pk)

    @invariant()
    def every_promise_holds(self) -> None:
        assert broken_promises() == []

    @invariant()
    def a_job_waits_as_long_as_a_child_is_active(self) -> None:
        """So none waits for ever, and none ends, or is queued, before its children have."""
        parents = set(Job.objects.filter(status__in=ACTIVE, parent__isnull=False).values_list("parent", flat=True))
        assert {job.pk for job in Job.objects.all() if job.is_waiting} == parents

    @invariant()
    def a_final_state_is_never_left(self) -> None:
        now = {job.pk: (job.status, job.result) for job in Job.objects.filter(status__in=FINAL)}
        assert {pk: now.get(pk) for pk in self.final} == self.final
        self.final = now

    @invariant()
    def at_most_one_preview_is_kept(self) -> None:
        previews = JobEvent.objects.filter(type="preview").values_list("job", flat=True)
        assert len(previews) == len(set(previews))

    @staticmethod
    def attempt(call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except LeaseLost:
            pass  # a worker that came too late is told so


@pytest.mark.django_db
def test_any_order_of_calls_keeps_every_promise():
    from hypothesis.stateful import run_state_machine_as_test

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Queue, settings=settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )
