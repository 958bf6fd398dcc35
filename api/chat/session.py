"""The worker's session of chats with one model: each chat is a job, and its text is written as token events."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from django.conf import settings

from api.chat.backends.request import ChatCallbacks, ChatRequest, ChatResult, Completion
from api.chat.callbacks import JobCallbacks, ToolsCalled
from api.chat.requests import chat_request_of
from api.chat.server_tools.calling import run_calls, tell_results
from api.chat.server_tools.dialogue import Dialogue
from api.chat.spec import ChatSpec
from api.errors import DarkroomError, DeviceFault
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled, LeaseLost
from api.jobs.kinds import Session
from api.jobs.running import Failed, Outcome, RunningJob, Stopped

log = logging.getLogger("darkroom.jobs")
Run = RunningJob[ChatSpec]
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


class ChatSession(Session):
    def __init__(self, backend: ChatBackend, slots: int) -> None:
        self.backend, self.slots = backend, slots
        self.waiting: deque[Run] = deque()
        self.generating: list[Run] = []
        self.outcomes: deque[Outcome | ToolsCalled] = deque()  # known, and not yet handed to the worker

    @property
    def running(self) -> list[Run]:
        return [run for run in (*self.waiting, *self.generating) if not run.ended]

    def room(self) -> int:
        return max(0, self.slots - self.backend.rows - len(self.waiting))

    def join(self, batch: Sequence[Run]) -> None:
        self.waiting += batch

    def step(self) -> Iterator[Outcome]:
        """Admit at most one waiting chat, then run one decode step, so that running chats never stall for long."""
        self.worked = bool(self.waiting) and self.backend.rows < self.slots
        if self.worked:
            self.admit(self.waiting.popleft())
        try:
            self.worked = self.backend.step() or self.worked
        finally:
            yield from self.pending_outcomes()
        self.waiting = deque(run for run in self.waiting if not run.ended)
        self.generating = [run for run in self.generating if not run.ended]

    def pending_outcomes(self) -> Iterator[Outcome]:
        while self.outcomes:
            known = self.outcomes.popleft()
            yield from self.go_on(known) if isinstance(known, ToolsCalled) else [known]
        yield from (Stopped(run) for run in self.running if run.cancelled)

    def close(self) -> None:
        self.backend.close()

    def admit(self, run: Run) -> None:
        self.generating.append(run)
        if run.cancelled:
            return
        with self.failing_alone(run):
            self.begin_turn(run, Dialogue(run.job, run.spec))

    def begin_turn(self, run: Run, dialogue: Dialogue) -> None:
        tell_results(run, dialogue)
        callbacks = JobCallbacks(run, self.backend.name, dialogue, self.outcomes.append)
        if dialogue.tokens_left is not None and dialogue.tokens_left < 1:
            return callbacks.on_end(ChatResult([Completion(finish_reason="length")]))
        self.backend.admit(chat_request_of(run.spec, run.owner_key, dialogue), callbacks, callbacks.on_loading)

    def go_on(self, called: ToolsCalled) -> list[Outcome]:
        """The job waits for what its tools do; where there is nothing to do (no call was good), its next turn can be written."""
        run = called.running
        with self.failing_alone(run):
            if (waiting := run_calls(run, called.dialogue, called.turn)) is not None:
                return [waiting]
            self.generating.remove(run)
            self.waiting.append(run)
        return []

    @contextmanager
    def failing_alone(self, run: Run) -> Iterator[None]:
        """One chat's error must not end the others."""
        try:
            yield
        except JobCancelled:
            self.outcomes.append(Stopped(run))
        except LeaseLost:
            run.ended = True
        except DarkroomError as error:
            self.outcomes.append(Failed(run, error))
        except (DeviceFault, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            log.exception("Job %s failed", run.id)
            self.outcomes.append(Failed(run, unexpected_error(error)))
