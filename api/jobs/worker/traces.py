"""A running job's spans, where traces are on: one for what this worker does of it, below it its stages, and its wait in the queue."""

from collections.abc import Sequence

from api import tracing
from api.jobs.models import Job
from api.jobs.running import Failed, Outcome, RunningJob
from api.specs import Spec

Running = RunningJob[Spec]


def begin(job: Job) -> tracing.Span:
    """None where traces are off."""
    about: tracing.Attributes = {
        "darkroom.job.id": str(job.pk),
        "darkroom.job.kind": job.kind,
        "darkroom.job.model": job.model_id,
        "darkroom.job.attempt": job.attempt,
    }
    return tracing.start_span(f"job {job.kind}", job.trace_parent, about)


def begin_batch(runs: Sequence[Running]) -> None:
    if tracing.is_on() and len(runs) > 1:
        tracing.link([run.span for run in runs])
        for run in runs:
            run.span.set_attribute("darkroom.batch.size", len(runs))


def finish(outcome: Outcome, error: str = "") -> None:
    """Once for each attempt; nothing where traces are off. `error`: why the outcome could not be written."""
    running = outcome.running
    span, running.span = running.span, None
    if span is None:
        return
    if not running.job.timings and running.job.started_at:
        record_wait(running.job, span)
    for stage, (start, end) in running.stages.items():
        moments = tracing.since_1970(start), tracing.since_1970(end)
        tracing.record_span(stage, span, *moments, {"darkroom.stage.seconds": running.timings.get(stage, 0.0)})
    error = error or (outcome.error.code if isinstance(outcome, Failed) else "")
    tracing.end_span(span, {"darkroom.job.outcome": type(outcome).__name__.lower()}, error)


def record_wait(job: Job, span: tracing.Span) -> None:
    """Beside the job's span where a request asked for it: it was over before."""
    assert job.started_at is not None
    start, end = job.created_at.timestamp(), job.started_at.timestamp()
    tracing.record_span("queue", job.trace_parent or span, start, end, {"darkroom.job.id": str(job.pk)})
