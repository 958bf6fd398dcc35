"""From what a tool asks for to jobs that have ended: submitted, followed, and cancelled where the client leaves before."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from api.dialects.mcp.calls import MOST_JOBS, Caller, leave
from api.errors import DarkroomError
from api.jobs.api.database_calls import in_thread, in_thread_when_back
from api.jobs.api.dialect import UNTIL_IT_ENDS
from api.jobs.api.event_hub import watch_job
from api.jobs.api.selectors import queue_positions
from api.jobs.api.submission import Submission, submit
from api.jobs.api.waiting import setter, wait_until_final
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from config.stopping import stopping

SOURCE = "mcp"
T = TypeVar("T")
Report = Callable[[float, str], Awaitable[None]]
"""Of the progress (0 to 1, and always more than before), with a sentence."""
POSITION_SECONDS = 2.0
"""How often the place in the queue is looked for: no event tells it."""
SMALLEST_STEP = 1e-6
"""The protocol wants a larger number with every notification, also where only the sentence is new."""


@dataclass(frozen=True)
class Call:
    """One call of a tool; `report` is None where the client asked for no progress."""

    caller: Caller
    request_id: object
    arguments: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None


async def run_jobs(parse: Callable[[], Sequence[Submission]], show: Callable[[list[Job]], T], call: Call) -> T:
    """What `show` makes of the jobs of what `parse` reads, once all have ended; one that was deleted meanwhile counts as cancelled.

    Both run in a thread. Raises what they raise, and `submit`, which then has submitted nothing.
    """
    submitting = asyncio.ensure_future(in_thread(submit_all, parse, call.caller, call.request_id))
    try:
        jobs = await asyncio.shield(submitting)
    except asyncio.CancelledError:
        submitting.add_done_callback(leave_when_submitted)
        raise
    try:
        await (follow(jobs, call.report) if call.report else wait(jobs))
        return await in_thread_when_back(lambda: show(as_they_stand(jobs)))
    except asyncio.CancelledError:
        leave(jobs)
        raise


def leave_when_submitted(submitting: "asyncio.Future[list[Job]]") -> None:
    if not submitting.cancelled() and not submitting.exception():
        leave(submitting.result())


def submit_all(parse: Callable[[], Sequence[Submission]], caller: Caller, request_id: object) -> list[Job]:
    """All or none of them."""
    submissions, jobs = parse(), []
    keys: Sequence[str | None] = caller.job_keys(request_id) or [None] * MOST_JOBS
    try:
        for submission, key in zip(submissions, keys, strict=False):
            jobs.append(submit_one(submission, caller, key))
    except Exception:
        for job in jobs:
            cancel_job(job=job)
        raise
    return jobs


def submit_one(submission: Submission, caller: Caller, key: str | None) -> Job:
    origin = caller.request.build_absolute_uri("/").rstrip("/")
    ask = partial(submit, submission, principal=caller.principal, source=SOURCE, origin=origin)
    try:
        job = ask(idempotency_key=key)
    except DarkroomError as error:
        if error.code != "idempotency_key_reused":
            raise
        return ask()  # a client that gives its ids twice: that request can't be cancelled by its id
    return ask() if job.status == Status.CANCELLED else job  # it left before, and comes again


async def wait(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if not await wait_until_final(job.pk, UNTIL_IT_ENDS):
            raise restarting(jobs)


def restarting(jobs: Sequence[Job]) -> DarkroomError:
    """The jobs go on: their results are in the history."""
    named = ", ".join(str(job.pk) for job in jobs)
    return DarkroomError(
        "restarting", 503, f"The server is restarting; the work goes on as {named}. Look for it in the history soon."
    )


def as_they_stand(jobs: Sequence[Job]) -> list[Job]:
    found = Job.objects.in_bulk([job.pk for job in jobs])
    for job in jobs:
        if job.pk not in found:
            job.status, job.error = Status.CANCELLED, None
    return [found.get(job.pk, job) for job in jobs]


# ---------------------------------------------------------------- progress


async def follow(jobs: Sequence[Job], report: Report) -> None:
    moved, reporter = asyncio.Event(), Reporter(report)
    wake = setter(moved)
    with stopping.waking(wake), ExitStack() as watching:
        for job in jobs:
            watching.enter_context(watch_job(job.pk, wake))
        while True:
            moved.clear()
            standing, positions = await in_thread_when_back(partial(read_progress, jobs))
            if all(job.is_final for job in standing):
                return
            if stopping.waits_are_over:
                raise restarting(jobs)
            await reporter.tell(fraction_of(standing), sentence_for(standing, positions))
            try:
                async with asyncio.timeout(POSITION_SECONDS if positions else None):
                    await moved.wait()
            except TimeoutError:
                pass  # the queue may have moved


class Reporter:
    """Says what is new, and only that."""

    def __init__(self, report: Report) -> None:
        self.report, self.fraction, self.sentence = report, -SMALLEST_STEP, ""

    async def tell(self, fraction: float, sentence: str) -> None:
        if fraction <= self.fraction and sentence == self.sentence:
            return
        self.fraction, self.sentence = max(fraction, self.fraction + SMALLEST_STEP), sentence
        await self.report(self.fraction, sentence)


def read_progress(jobs: Sequence[Job]) -> tuple[list[Job], list[int]]:
    """The jobs, and the places in the queue of those that wait."""
    standing = as_they_stand(jobs)
    return standing, list(queue_positions(standing).values())


def fraction_of(jobs: Sequence[Job]) -> float:
    done = [1.0 if job.is_final else float(job.progress.get("fraction", 0)) for job in jobs]
    return sum(done) / len(done)


def sentence_for(jobs: Sequence[Job], positions: Sequence[int]) -> str:
    running = [job for job in jobs if job.status == Status.RUNNING]
    if not running:
        return f"Waiting; jobs before it: {min(positions)}." if positions else "Waiting."
    progress = running[0].progress
    if "steps" in progress:
        return f"Step {progress.get('step', 0)} of {progress['steps']}."
    return str(progress.get("stage") or "Running.").capitalize()
