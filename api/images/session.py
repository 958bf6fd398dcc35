"""The worker's session of jobs for pictures of one model: their pictures share the UNet's passes. No torch outside its engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from api.errors import DarkroomError, DeviceFault
from api.images.finishing import choose_finished, finish_kept, uses_other_models
from api.images.hooks import RunHooks
from api.images.output_sinks import OutputSink, SelectedPictures
from api.images.pictures import Run, discard, ending_alone, explain, file_notes, open_request, open_sink, save
from api.images.spec import TEXT_TO_IMAGE
from api.jobs.errors import CONNECTION_ERRORS
from api.jobs.kinds import Session
from api.jobs.running import Failed, Finished, Outcome, Stopped
from api.safety.pictures.policy import may_be_previewed

if TYPE_CHECKING:
    from api.images.backends.engine.engine import Engine
    from api.images.backends.engine.tasks import Task

SAVERS = 2
MOST_SAVING = 8
"""Jobs whose pictures wait to be on disk; then the next pass waits, so that memory is bounded."""


class JobHooks:
    """What the engine tells of one job; see engine/tasks.py."""

    def __init__(self, run: Run) -> None:
        self.run, self.hooks = run, RunHooks([run])
        self.add_time, self.warn, self.on_load = run.add_time, run.warn, self.hooks.on_load

    def explain(self, error: Exception) -> DarkroomError:
        if isinstance(error, CONNECTION_ERRORS):
            raise error
        return explain(self.run, error)

    def on_step(self, step: int, steps: int, preview: bytes | None) -> None:
        self.run.progress(step=step, steps=steps, preview=preview)

    def wants_preview(self) -> bool:
        return self.run.watched and may_be_previewed(self.run.owner_key)

    def cancelled(self) -> bool:
        return self.run.cancelled


class ActiveJob:
    """A job whose pictures are in the engine, and what takes them."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        from api.images.backends.engine.tasks import Task

        self.run, self.stack = run, stack
        request = open_request(run.spec)
        self.sink: OutputSink = stack.enter_context(open_sink([run]))
        take = partial(self.sink.take, 0)  # no method of this: a circle would keep pictures until garbage is collected
        self.task: Task = Task(request, JobHooks(run), take)

    def choose(self) -> SelectedPictures | Outcome:
        """When the task has a result. Loads judges of pictures: for the thread that runs models."""
        with self.stack:
            if isinstance(self.task.result, DarkroomError):
                return Failed(self.run, self.task.result)
            if not self.task.result or self.run.cancelled:
                return choose_finished(self.run, self.sink, 0) or Stopped(self.run)
            self.sink.close()
            return finish_kept(self.run, self.sink.choose(0))


class ImageSession(Session):
    """While another session's model would have to leave memory for this one's, this one waits, and nobody joins the other any more:
    so no two sessions load their models in turn.
    """

    _open: ClassVar[list[ImageSession]] = []
    """Those of this process. One thread runs them all."""

    def __init__(self, engine: Engine, *, saves_beside: bool) -> None:
        """`saves_beside`: whether pictures are encoded and written in threads, while the next pass runs. Not on a CPU, whose cores
        the pass uses.
        """
        self.engine = engine
        self.savers = ThreadPoolExecutor(SAVERS, "pictures") if saves_beside else None
        self.saving: deque[tuple[Run, Future[Outcome]]] = deque()
        self.waiting: deque[Run] = deque()
        self.active: list[ActiveJob] = []
        self.ended: deque[ActiveJob] = deque()
        """Those whose task has a result."""
        self.has_begun = self.waits_for_memory = False
        self._open.append(self)

    @property
    def running(self) -> list[Run]:
        runs = (*self.waiting, *(job.run for job in (*self.active, *self.ended)), *(run for run, _ in self.saving))
        return [run for run in runs if not run.ended]

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
            yield from ending_alone(run, partial(self.start, run))
        yield from self.run_engine()
        while self.ended:
            job = self.ended.popleft()
            yield from ending_alone(job.run, partial(self.end, job))
        yield from self.saved()

    def run_engine(self) -> Iterator[Outcome]:
        """A step of it. What it raises ends those whose pictures it makes, and none of the others."""
        try:
            done = self.engine.step()
        except (DeviceFault, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            yield from self.fail_active(error)
            return
        self.ended += [job for job in self.active if job.task in done]
        self.active = [job for job in self.active if job.task not in done]

    def fail_active(self, error: Exception) -> Iterator[Outcome]:
        jobs, self.active = self.active, []
        self.engine.close()
        for job in jobs:
            job.stack.close()
            cause = error if isinstance(error, DarkroomError) else explain(job.run, error)
            yield Stopped(job.run) if job.run.cancelled else Failed(job.run, cause)

    def can_begin(self) -> bool:
        from api.loading.eviction import fits_beside

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
        if uses_other_models(job.run):
            self.engine.release()  # its own may have to leave memory for them
        chosen = job.choose()
        if not isinstance(chosen, SelectedPictures):
            return [chosen]
        notes = file_notes(job.run.spec)
        if self.savers is None:
            return [save(job.run, chosen, notes)]
        self.saving.append((job.run, self.savers.submit(save, job.run, chosen, notes)))
        return []

    def saved(self) -> Iterator[Outcome]:
        """Those whose files are on disk. Waits where too many are not, or nothing else is left to do."""
        while self.saving:
            must_wait = len(self.saving) > MOST_SAVING or not self.engine.tasks
            wait([future for _, future in self.saving], None if must_wait else 0, FIRST_COMPLETED)
            written = [pair for pair in self.saving if pair[1].done()]
            if not written:
                return
            for run, future in written:
                self.saving.remove((run, future))
                yield from ending_alone(run, lambda future=future: [future.result()])  # type: ignore[misc]

    def pause(self) -> None:
        self.engine.release()

    def close(self) -> None:
        """Files of jobs whose end nobody writes are removed: another worker makes them again."""
        self._open.remove(self)
        for job in (*self.active, *self.ended):
            job.stack.close()
        try:
            self.engine.close()
        finally:
            self.remove_unrecorded()

    def remove_unrecorded(self) -> None:
        if self.savers is not None:
            self.savers.shutdown(wait=True)
        for run, future in self.saving:
            for outcome in ending_alone(run, lambda future=future: [future.result()]):  # type: ignore[misc]
                if isinstance(outcome, Finished):
                    discard(outcome.output)
