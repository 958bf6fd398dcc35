"""The worker's session of chats with one model: each chat is a job, and its text is written as token events."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from django.conf import settings

from api.chat.backends.request import (
    ChatCallbacks,
    ChatRequest,
    ChatResult,
    ChatTooLarge,
    Completion,
    MessagePart,
    Sampling,
    ToolCall,
    Turn,
)
from api.chat.spec import ChatSpec, PartParams, TurnParams, answered_call, calls_of
from api.chat.tools.use import tool_use_of
from api.errors import DarkroomError, DeviceFault
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled
from api.jobs.kinds import Session
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject

log = logging.getLogger("darkroom.jobs")
Run = RunningJob[ChatSpec]
Progress = Callable[[float, str], None]
COALESCE_SECONDS = 0.05  # of text: what comes within it is one event
PROGRESS_STEPS = 100


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
        self.outcomes: deque[Outcome] = deque()  # known, and not yet handed to the worker

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
            yield self.outcomes.popleft()
        yield from (Stopped(run) for run in self.running if run.cancelled)

    def close(self) -> None:
        self.backend.close()

    def admit(self, run: Run) -> None:
        self.generating.append(run)
        if run.cancelled:
            return
        callbacks = JobCallbacks(run, self.backend.name, self.outcomes.append)
        try:
            self.backend.admit(chat_request_of(run), callbacks, callbacks.on_loading)
        except JobCancelled:
            self.outcomes.append(Stopped(run))
        except DarkroomError as error:
            self.outcomes.append(Failed(run, error))
        except MemoryError:
            self.outcomes.append(Failed(run, ChatTooLarge()))
        except (DeviceFault, *CONNECTION_ERRORS):
            raise
        except Exception as error:  # one chat's error must not end the others
            log.exception("Job %s failed", run.id)
            self.outcomes.append(Failed(run, unexpected_error(error)))


class JobCallbacks:
    """Writes a chat's text as token events of its job: the first text at once, later text coalesced over 50 ms."""

    def __init__(self, run: Run, backend: str, report: Callable[[Outcome], None]) -> None:
        self.run, self.backend, self.report = run, backend, report
        self.started = time.monotonic()
        self.loading = 0.0
        self.first_token: float | None = None
        self.last_sent = 0.0
        self.texts: dict[int, str] = {}
        self.logprobs: dict[int, list[JsonObject]] = {}
        self.offsets: dict[int, int] = {}
        self.calls: dict[tuple[int, int], dict[str, str]] = {}
        """What is not sent yet of them, by choice and number."""
        self.call_offsets: dict[tuple[int, int], int] = {}

    def on_loading(self, fraction: float, text: str) -> None:
        self.run.raise_if_cancelled()
        self.loading = time.monotonic() - self.started
        self.run.progress(step=round(fraction * PROGRESS_STEPS), steps=PROGRESS_STEPS, stage=text)

    def on_text(self, index: int, text: str, logprobs: list[JsonObject]) -> None:
        self.texts[index] = self.texts.get(index, "") + text
        self.logprobs.setdefault(index, []).extend(logprobs)
        self.send_soon()

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        call = self.calls.setdefault((index, number), {"id": self.call_id(index, number), "name": name, "arguments": ""})
        call["arguments"] += arguments
        self.send_soon()

    def call_id(self, index: int, number: int) -> str:
        """The same in an answer that is begun anew: its stream goes on where it was."""
        return f"call_{self.run.id.hex[-20:]}{index:x}{number:03x}"

    def send_soon(self) -> None:
        now = time.monotonic()
        if self.first_token is None:
            self.first_token = now - self.started
        if now - self.last_sent >= COALESCE_SECONDS:
            self.last_sent = now
            self.flush()

    def flush(self) -> None:
        self.flush_texts()
        for (index, number), call in self.calls.items():
            offset = self.call_offsets.get((index, number), 0)
            self.run.emit("tool_call", {"index": index, "number": number, "offset": offset, **call})
            self.call_offsets[index, number] = offset + len(call["arguments"])
        self.calls = {}

    def flush_texts(self) -> None:
        for index, text in self.texts.items():
            data: JsonObject = {"index": index, "offset": self.offsets.get(index, 0), "text": text}
            if self.logprobs.get(index):
                data["logprobs"] = self.logprobs[index]
            self.run.emit("token", data)
            self.offsets[index] = self.offsets.get(index, 0) + len(text)
        self.texts, self.logprobs = {}, {}

    def cancelled(self) -> bool:
        """Called at every token and prefill chunk, so it also records activity for the hang detection."""
        self.run.last_activity = time.monotonic()
        return self.run.cancelled

    def on_end(self, result: ChatResult) -> None:
        self.flush()
        seconds = time.monotonic() - self.started
        first = self.first_token if self.first_token is not None else seconds
        for name, spent in (("load", self.loading), ("read", first - self.loading), ("write", seconds - first)):
            self.run.add_time(name, spent)
        choices = [self.choice_of(index, choice) for index, choice in enumerate(result.choices)]
        self.report(
            Finished(
                self.run,
                {
                    "backend": self.backend,
                    "model": result.model or self.run.job.model_id,
                    "choices": choices,
                    "prompt_tokens": result.prompt_tokens,
                    "cached_tokens": result.cached_tokens,
                    "first_token_seconds": round(first, 4),
                    "seconds": round(seconds, 4),
                },
            )
        )

    def choice_of(self, index: int, choice: Completion) -> JsonObject:
        calls = [
            {"id": self.call_id(index, number), "name": call.name, "arguments": call.arguments}
            for number, call in enumerate(choice.calls)
        ]
        return {
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "completion_tokens": choice.completion_tokens,
            "logprobs": choice.logprobs or None,
            **({"tool_calls": calls} if calls else {}),
        }

    def on_error(self, error: DarkroomError) -> None:
        self.report(Failed(self.run, error))


# ---------------------------------------------------------------- from a job to a request


def chat_request_of(run: Run) -> ChatRequest:
    spec = run.spec
    names = {one.name for one in fields(Sampling)} & {one.name for one in fields(ChatSpec)}
    given = {name: value for name in names if (value := getattr(spec, name)) is not None}
    sampling = Sampling(**given, default_max_tokens=settings.CHAT_MAX_TOKENS, schema=schema_of(spec.response_format))
    return ChatRequest(
        model_id=spec.model,
        turns=tuple(map(turn_of, spec.messages)),
        sampling=sampling,
        owner=run.owner_key,
        tool_use=tool_use_of(spec.tools, spec.tool_choice, spec.parallel_tool_calls),
    )


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None for free text, {} for any JSON object."""
    if response_format is None or response_format["type"] == "text":
        return None
    return (response_format.get("json_schema") or {}).get("schema", {})  # type: ignore[no-any-return]


def turn_of(turn: TurnParams) -> Turn:
    parts = tuple(part_of(part) for part in turn["parts"] if part["type"] in ("text", "image"))
    calls = tuple(ToolCall(part["id"], part["name"], part["arguments"]) for part in calls_of(turn))
    answered = answered_call(turn)
    return Turn(turn["role"], parts, calls, ToolCall(answered["id"], answered["name"], "") if answered else None)


def part_of(part: PartParams) -> MessagePart:
    if part["type"] == "text":
        return MessagePart(text=part["text"])
    file = StoredFile.objects.filter(pk=part["image"]).first()
    if file is None:
        raise MissingFile
    return MessagePart(image=open_image(file), detail=part["detail"])
