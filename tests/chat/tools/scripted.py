"""A chat model that writes what a test says, and the worker that runs it beside real tools."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from api.chat.backends.request import ChatCallbacks, ChatRequest, ChatResult, Completion, WrittenCall
from api.jobs.worker.loop import WorkerLoop

Step = Any
"""A text; a call as (name, arguments); or a list of both, which one turn has: with CUT at its end, no tokens were left for more."""
CUT = object()


@dataclass
class ScriptedBackend:
    """Each chat that it admits is answered with the next step of its script, at its next step."""

    script: list[Step]
    read: list[ChatRequest] = field(default_factory=list)
    """What it was asked, in order."""
    name: str = "pytorch"
    active: list[ChatCallbacks] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.active)

    def admit(self, request: ChatRequest, callbacks: ChatCallbacks, on_progress: object = None) -> None:
        self.read.append(request)
        self.active.append(callbacks)

    def step(self) -> bool:
        if not self.active:
            return False
        callbacks = self.active.pop(0)
        if not callbacks.cancelled():
            write(callbacks, self.script.pop(0))
        return True

    def close(self) -> None:
        self.active.clear()


def write(callbacks: ChatCallbacks, step: Step) -> None:
    said = Completion(finish_reason="stop", completion_tokens=10)
    for part in step if isinstance(step, list) else [step]:
        if part is CUT:
            said.finish_reason = "length"
        elif isinstance(part, str):
            said.text += part
            callbacks.on_text(0, part, [])
        else:
            name, arguments = part
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            said.calls.append(WrittenCall(name, text))
            said.finish_reason = "tool_calls"
            callbacks.on_call(0, len(said.calls) - 1, name, "")
            callbacks.on_call(0, len(said.calls) - 1, name, text)
    callbacks.on_end(ChatResult([said], prompt_tokens=100, cached_tokens=5))


def texts(request: ChatRequest) -> Iterator[str]:
    """What was read, a line for each turn."""
    for turn in request.turns:
        calls = [f"{call.name}({call.arguments})" for call in turn.calls]
        pictures = [f"<{part.image.width}x{part.image.height}>" for part in turn.parts if part.image is not None]
        yield f"{turn.role}: {' '.join(filter(None, [turn.text, *calls, *pictures]))}"


def work(loop: WorkerLoop | None = None) -> None:
    """A worker does all that waits."""
    own = loop or WorkerLoop()
    while own.run_once():
        pass
    if loop is None:
        own.end()
