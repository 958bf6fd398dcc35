"""The worker's session of chats with one model: each chat is a job, and its text is written as token events."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from django.conf import settings

from api import tracing
from api.chat.backends.request import ChatCallbacks, ChatRequest, ChatResult, ChatTooLarge, Completion
from api.chat.callbacks import JobCallbacks, ToolsCalled, TurnCallbacks
from api.chat.completions.gathering import PromptCallbacks, ask_each_prompt
from api.chat.completions.spec import CompletionSpec
from api.chat.requests import chat_request_of
from api.chat.server_tools.calling import run_calls, tell_results
from api.chat.server_tools.dialogue import Dialogue
from api.chat.spec import AUTO, ChatSpec, WritingSpec
from api.chat.truncation import admit_what_fits
from api.errors import DarkroomError, DeviceFault
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled, LeaseLost
from api.jobs.kinds import Session
from api.jobs.running import Failed, Outcome, RunningJob, Stopped

log = logging.getLogger("darkroom.jobs")
Run = RunningJob[WritingSpec]
Progress = Callable[[float, str], None]


class ChatBackend(Protocol):
    """Runs the chats of one model. `admit` and `step` raise DarkroomError and the errors of loader and store."""

    name: str

    @property
    def rows(self) -> int:
        """Sequences that are being generated."""

    def admit(self, request: ChatRequest, callbacks: ChatCallbacks, on_progress: Progress | None = None) -> None:
        """Add one chat."""

    def step(self) -> bool:
        """Run one prefill chunk and one decode step. False when there was nothing to do (a remote backend waits briefly first)."""

    def close(self) -> None:
        """Drop all running chats."""


def make_backend(name: str, model_id: str) -> ChatBackend:
    if name == "remote":
        from api.chat.backends.remote_backend import RemoteBackend
        from config.catalog import get_catalog

        entry = get_catalog().models.get(model_id)
        return RemoteBackend(
            url=settings.CHAT_REMOTE_URL,
            key=settings.CHAT_REMOTE_KEY,
            model=(entry.repo or entry.id) if entry else model_id,
            timeout=settings.REMOTE_TIMEOUT_SECONDS,
        )
    from api.chat.backends.prefix_cache import CacheLimits
    from api.model_loader import get_loader

    limits = CacheLimits(settings.CHAT_PREFIX_CACHE_BYTES, settings.CHAT_IMAGE_CACHE_BYTES)
    if name == "onnx":
        from api.chat.backends.onnx_backend import OnnxBackend

        return OnnxBackend(get_loader(), model_id, limits)
    from api.chat.backends.torch_backend import TorchBackend

    return TorchBackend(get_loader(), model_id, limits)


@dataclass(frozen=True)
class Admission:
    """One request to the backend, of those that a job comes to."""

    run: Run
    begin: Callable[[], None]
    is_cancelled: Callable[[], bool]
    fail: Callable[[DarkroomError], None]


class ChatSession(Session):
    def __init__(self, backend: ChatBackend, slots: int) -> None:
        self.backend, self.slots = backend, slots
        self.waiting: deque[Admission] = deque()
        self.generating: list[Run] = []
        self.outcomes: deque[Outcome | ToolsCalled] = deque()  # known, and not yet handed to the worker

    @property
    def running(self) -> list[Run]:
        runs = dict.fromkeys([*(admission.run for admission in self.waiting), *self.generating])
        return [run for run in runs if not run.ended]

    def room(self) -> int:
        return max(0, self.slots - self.backend.rows - len(self.waiting))

    def join(self, batch: Sequence[Run]) -> None:
        for run in batch:
            self.waiting += self.admissions_of(run)

    def step(self) -> Iterator[Outcome]:
        """Admit at most one waiting chat, then run one decode step, so that running chats never stall for long."""
        self.worked = bool(self.waiting) and self.backend.rows < self.slots
        if self.worked:
            self.admit(self.waiting.popleft())
        try:
            self.worked = self.backend.step() or self.worked
        finally:
            yield from self.pending_outcomes()
        self.waiting = deque(admission for admission in self.waiting if not admission.run.ended)
        self.generating = [run for run in self.generating if not run.ended]

    def pending_outcomes(self) -> Iterator[Outcome]:
        while self.outcomes:
            known = self.outcomes.popleft()
            yield from self.go_on(known) if isinstance(known, ToolsCalled) else [known]
        yield from (Stopped(run) for run in self.running if run.cancelled)

    def close(self) -> None:
        self.backend.close()

    def admissions_of(self, run: Run) -> Iterator[Admission]:
        """Of a chat one, of a completion one for each prompt."""
        if isinstance(run.spec, ChatSpec):
            yield Admission(run, partial(self.begin_turn, run, run.spec), lambda: run.cancelled, partial(self.fail, run))
        elif isinstance(run.spec, CompletionSpec):
            callbacks = JobCallbacks(run, self.backend.name, self.outcomes.append)
            for one in ask_each_prompt(run.spec, run.owner_key, callbacks):
                yield Admission(run, partial(self.begin_prompt, one), one.cancelled, one.on_error)

    def admit(self, admission: Admission) -> None:
        run = admission.run
        if run not in self.generating:
            self.generating.append(run)
        if admission.is_cancelled():
            return
        with self.failing_alone(run, admission.fail):
            admission.begin()

    def begin_prompt(self, callbacks: PromptCallbacks) -> None:
        callbacks.begin()
        self.backend.admit(callbacks.request, callbacks, callbacks.on_loading)

    def begin_turn(self, run: Run, spec: ChatSpec) -> None:
        dialogue = Dialogue(run.job, spec)
        tell_results(run, dialogue)
        callbacks = TurnCallbacks(run, self.backend.name, dialogue, self.outcomes.append)
        callbacks.begin()
        if dialogue.tokens_left is not None and dialogue.tokens_left < 1:
            return callbacks.on_end(ChatResult([Completion(finish_reason="length")]))
        self.admit_turn(run, chat_request_of(spec, run.owner_key, dialogue), callbacks, may_cut=spec.truncation == AUTO)

    def admit_turn(self, run: Run, request: ChatRequest, callbacks: JobCallbacks, *, may_cut: bool) -> None:
        def admit(shortened: ChatRequest) -> None:
            self.backend.admit(shortened, callbacks, callbacks.on_loading)

        if not may_cut:
            admit(request)
        elif left_out := admit_what_fits(request, admit):
            run.warn(
                f"The oldest {left_out} of {len(request.turns)} messages were left out: together they are too long for the model."
            )

    def go_on(self, called: ToolsCalled) -> list[Outcome]:
        """The job waits for what its tools do; where there is nothing to do (no call was good), its next turn can be written."""
        run = called.running
        with self.failing_alone(run, partial(self.fail, run)):
            if (waiting := run_calls(run, called.dialogue, called.turn)) is not None:
                return [waiting]
            self.generating.remove(run)
            self.waiting += self.admissions_of(run)
        return []

    def fail(self, run: Run, error: DarkroomError) -> None:
        self.outcomes.append(Failed(run, error))

    @contextmanager
    def failing_alone(self, run: Run, fail: Callable[[DarkroomError], None]) -> Iterator[None]:
        """One chat's error must not end the others. What it sends to a remote server belongs to its trace."""
        try:
            with tracing.use(run.span):
                yield
        except JobCancelled:
            self.outcomes.append(Stopped(run))
        except LeaseLost:
            run.ended = True
        except DarkroomError as error:
            fail(error)
        except MemoryError:
            fail(ChatTooLarge())
        except (DeviceFault, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            log.exception("Job %s failed", run.id)
            fail(unexpected_error(error))
