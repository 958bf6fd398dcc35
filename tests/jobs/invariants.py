"""What must hold of every job at every moment, read from its row and its events. The state machine and the mutants are judged by this."""

from itertools import pairwise

from api.jobs.models import Job, JobEnding
from api.jobs.states import ACTIVE, FINAL, TRANSITIONS, Status


def broken_promises() -> list[str]:
    return [f"{job}: {text}" for job in Job.objects.prefetch_related("events") for text in broken_by(job)]


def broken_by(job: Job) -> list[str]:
    events = list(job.events.all())
    states = [event.data["status"] for event in events if event.type == "status"]
    numbers = [event.sequence for event in events]
    results = sum(event.type == "result" for event in events)
    endings = list(JobEnding.objects.filter(job_id=job.pk).values_list("status", flat=True))
    waits = job.is_waiting and job.children.filter(status__in=ACTIVE).exists()
    checks = {
        "its events are out of order": numbers != sorted(set(numbers)),
        "its last event is not its state": states[-1] != job.status,
        "it has a number above its row's": numbers[-1] > job.event_sequence,
        "it made a step that doesn't exist": any(after not in TRANSITIONS[before] for before, after in pairwise(states)),
        "it ended more than once": sum(state in FINAL for state in states) > 1,
        "it has more than one result": results > 1,
        "it succeeded without a result, or the reverse": (job.status == Status.SUCCEEDED) != (results == 1),
        "its lease doesn't fit its state": (job.lease_token is not None) != (job.status == Status.RUNNING) and not waits,
        "it was tried too often": job.attempt > job.max_attempts,
        "the outbox doesn't have its end once": endings != [job.status] * job.is_final,
        "its pictures are not counted as they are": job.is_final and counted_of(job) != {job.images.count()},
        "it never ended, or ended too soon": (job.finished_at is None) != (job.status in ACTIVE),
    }
    return [text for text, broken in checks.items() if broken]


def counted_of(job: Job) -> set[int]:
    return set(JobEnding.objects.filter(job_id=job.pk).values_list("pictures", flat=True))
