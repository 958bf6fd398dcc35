"""The worker's session of jobs for pictures of one model: their pictures share the UNet's passes. No torch outside its engine."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from api.errors import DarkroomError, DeviceFault
from api.images.hooks import RunHooks
from api.images.output_sinks import OutputSink
from api.images.pictures import Run, open_request, open_sink, save
from api.images.spec import TEXT_TO_IMAGE
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled
from api.jobs.kinds import Session
from api.jobs.running import Failed, Outcome, Stopped

if TYPE_CHECKING:
    from PIL import Image

    from api.images.backends.engine.engine import Engine
    from api.images.backends.engine.tasks import Task

log = logging.getLogger("darkroom.jobs")


class JobHooks:
    """What the engine tells of one job; see engine/tasks.py."""

    def __init__(self, run: Run) -> None:
        self.run, self.hooks = run, RunHooks([run])
        self.add_time, self.warn, self.on_load = run.add_time, run.warn, self.hooks.on_load

    def on_step(self, step: int, steps: int, preview: bytes | None) -> None:
        self.run.progress(step=step, steps=steps, preview=preview)

    def wants_preview(self) -> bool:
        return self.run.watched

    def cancelled(self) -> bool:
        return self.run.cancelled


class ActiveJob:
    """A job whose pictures are in the engine, and what takes them."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        from api.images.backends.engine.tasks import Task

        self.run, self.stack = run, stack
        request = open_request(run.spec)
        self.sink: OutputSink = stack.enter_context(open_sink([run]))
        self.task: Task = Task(request, JobHooks(run), self.take)

    def take(self, number: int, picture: Image.Image) -> None:
        self.sink.take(0, number, picture)

    def outcome(self) -> Outcome:
        """When the task has a result."""
        if isinstance(self.task.result, DarkroomError):
            return Failed(self.run, self.task.result)
        if not self.task.result or self.run.cancelled:
            return Stopped(self.run)
        self.sink.close()
        return save(self.run, self.sink.choose(0))


class ImageSession(Session):
    """While another session's model would have to leave memory for this one's, this one waits, and nobody joins the other any more:
    so no two sessions load their models in turn.
    """

    _open: ClassVar[list[ImageSession]] = []
    """Those of this process. One thread runs them all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.waiting: deque[Run] = deque()
        self.active: list[ActiveJob] = []
        self.has_begun = self.waits_for_memory = False
        self._open.append(self)

    @property
    def running(self) -> list[Run]:
        return [run for run in (*self.waiting, *(job.run for job in self.active)) if not run.ended]

    def room(self) -> int:
        if any(session.waits_for_memory for session in self._open):
            return 0
        return max(0, self.engine.room - len(self.waiting))

    def join(self, batch: Sequence[Run]) -> None:
        self.waiting += batch

    def step(self) -> Iterator[Outcome]:
        self.waits_for_memory = not self.has_begun and not self.can_begin()
        self.worked = not self.waits_for_memory
        if self.waits_for_memory:
            yield from self.stop_waiting()
            return
        self.has_begun = True
        while self.waiting:
            run = self.waiting.popleft()
            yield from self.guarded(run, partial(self.start, run))
        for task in self.engine.step():
            job = next(job for job in self.active if job.task is task)
            yield from self.guarded(job.run, partial(self.end, job))
        self.active = [job for job in self.active if not job.run.ended]

    def can_begin(self) -> bool:
        from api.loading.room import fits_beside

        kept = {session.engine.model_id for session in self._open if session.has_begun}
        return not kept or fits_beside(self.engine.loader, self.engine.model_id, TEXT_TO_IMAGE, kept)

    def stop_waiting(self) -> Iterator[Outcome]:
        yield from (Stopped(run) for run in self.waiting if run.cancelled)
        self.waiting = deque(run for run in self.waiting if not run.ended)

    def start(self, run: Run) -> list[Outcome]:
        if run.cancelled:
            return [Stopped(run)]
        with ExitStack() as stack:
            job = ActiveJob(run, stack)
            self.engine.add(job.task)
            job.stack = stack.pop_all()
        self.active.append(job)
        return []

    def end(self, job: ActiveJob) -> list[Outcome]:
        with job.stack:
            return [job.outcome()]

    def guarded(self, run: Run, work: Callable[[], list[Outcome]]) -> list[Outcome]:
        """One job's error must not end the others."""
        try:
            return work()
        except JobCancelled:
            return [Stopped(run)]
        except DarkroomError as error:
            return [Failed(run, error)]
        except (DeviceFault, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            log.exception("Job %s failed", run.id)
            return [Failed(run, unexpected_error(error))]

    def pause(self) -> None:
        self.engine.release()

    def close(self) -> None:
        self._open.remove(self)
        for job in self.active:
            job.stack.close()
        self.engine.close()
