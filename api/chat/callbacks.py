"""What a backend says of a chat, written as events of its job, and how the chat ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from api.chat.backends.request import ChatResult, Completion
from api.chat.server_tools.calling import Turn
from api.chat.server_tools.dialogue import Dialogue
from api.chat.server_tools.visible import GAP
from api.chat.spec import PartParams, WritingSpec
from api.chat.tools.calls import begun_name
from api.errors import DarkroomError
from api.jobs.running import Failed, Finished, Outcome, RunningJob
from api.json_types import JsonObject

COALESCE_SECONDS = 0.05  # of text: what comes within it is one event
PROGRESS_STEPS = 100
CLIENTS_FIRST = "{names} was not run: a call of the client's own tool ended the answer."
CUT_OFF = "{names} was not run: the answer was cut at the most tokens that it may have."


@dataclass(frozen=True)
class ToolsCalled:
    """A turn ended with calls of the server's tools: there is more to do before the job has an outcome."""

    running: RunningJob[WritingSpec]
    dialogue: Dialogue
    turn: Turn


Report = Callable[[Outcome | ToolsCalled], None]


class JobCallbacks:
    """Writes a text as token events of its job: the first text at once, later text coalesced over 50 ms."""

    def __init__(self, run: RunningJob[WritingSpec], backend: str, report: Report) -> None:
        self.run, self.backend, self.report = run, backend, report
        self.started = 0.0
        self.loading = 0.0
        self.first_token: float | None = None
        self.last_sent = 0.0
        self.texts: dict[int, str] = {}
        self.logprobs: dict[int, list[JsonObject]] = {}
        self.offsets: dict[int, int] = {}
        self.calls: dict[tuple[int, int], dict[str, str]] = {}
        """What is not sent yet of them, by choice and number."""
        self.call_offsets: dict[tuple[int, int], int] = {}

    def begin(self) -> None:
        """The backend gets it, or the first of its prompts."""
        self.started = self.started or time.monotonic()

    def on_loading(self, fraction: float, text: str) -> None:
        self.run.raise_if_cancelled()
        self.loading = time.monotonic() - self.started
        self.run.progress(step=round(fraction * PROGRESS_STEPS), steps=PROGRESS_STEPS, stage=text)

    def on_text(self, index: int, text: str, logprobs: list[JsonObject]) -> None:
        self.texts[index] = self.texts.get(index, "") + text
        self.logprobs.setdefault(index, []).extend(logprobs)
        self.send_soon()

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        self.add_to_call((index, number), self.call_id(index, number), name, arguments)

    def add_to_call(self, place: tuple[int, int], call_id: str, name: str, arguments: str) -> None:
        call = self.calls.setdefault(place, {"id": call_id, "name": name, "arguments": ""})
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
        for index, text in self.texts.items():
            self.send_text(index, text)
        self.texts, self.logprobs = {}, {}
        for (index, number), call in self.calls.items():
            offset = self.call_offsets.get((index, number), 0)
            self.run.emit("tool_call", {"index": index, "number": number, "offset": offset, **call})
            self.call_offsets[index, number] = offset + len(call["arguments"])
        self.calls = {}

    def send_text(self, index: int, text: str) -> None:
        offset = self.offsets.get(index, 0)
        data: JsonObject = {"index": index, "offset": offset, "text": text}
        if self.logprobs.get(index):
            data["logprobs"] = self.logprobs[index]
        self.run.emit("token", data)
        self.offsets[index] = offset + len(text)

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
        self.report(self.ended(result, {"first_token_seconds": round(first, 4), "seconds": round(seconds, 4)}))

    def ended(self, result: ChatResult, times: dict[str, float]) -> Outcome | ToolsCalled:
        output = {
            "backend": self.backend,
            "model": result.model or self.run.job.model_id,
            "choices": [self.choice_of(index, choice) for index, choice in enumerate(result.choices)],
            "prompt_tokens": result.prompt_tokens,
            "cached_tokens": result.cached_tokens,
            "dropped_tokens": result.dropped_tokens,
            **times,
        }
        return Finished(self.run, output)

    def choice_of(self, index: int, choice: Completion) -> JsonObject:
        calls = self.calls_of(index, choice)
        return {
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "completion_tokens": choice.completion_tokens,
            "logprobs": choice.logprobs or None,
            **({"tool_calls": calls} if calls else {}),
            **({"cut_calls": cut} if (cut := self.cut_calls(index, choice)) else {}),
        }

    def cut_calls(self, index: int, choice: Completion) -> list[dict[str, str]]:
        """For people alone: calls that no client is told of, since they broke off."""
        return [{"name": begun_name(choice.broken_off), "arguments": choice.broken_off}] if choice.broken_off else []

    def calls_of(self, index: int, choice: Completion) -> list[dict[str, str]]:
        return [
            {"id": self.call_id(index, number), "name": call.name, "arguments": call.arguments}
            for number, call in enumerate(choice.calls)
        ]

    def on_error(self, error: DarkroomError) -> None:
        self.report(Failed(self.run, error))


class TurnCallbacks(JobCallbacks):
    """Of a chat's answer, which has several turns where the server's own tools are called: a client sees them as one text."""

    def __init__(self, run: RunningJob[WritingSpec], backend: str, dialogue: Dialogue, report: Report) -> None:
        super().__init__(run, backend, report)
        self.dialogue = dialogue
        self.clients: dict[tuple[int, int], int] = {}
        """The client's own calls, by choice and number: their numbers without the server's."""

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        """The server's own are told once they are whole."""
        if name in self.dialogue.names:
            return
        place = self.clients.setdefault((index, number), sum(key[0] == index for key in self.clients))
        self.add_to_call((index, place), self.call_id(index, number), name, arguments)

    def call_id(self, index: int, number: int) -> str:
        """No two turns of an answer have the same."""
        return super().call_id(index, self.dialogue.calls_before + number)

    def send_text(self, index: int, text: str) -> None:
        before = len(self.dialogue.progress.text)
        is_first = self.offsets.setdefault(index, before) == before
        super().send_text(index, GAP + text if before and text and is_first else text)

    def ended(self, result: ChatResult, times: dict[str, float]) -> Outcome | ToolsCalled:
        if (called := self.tools_called(result, times)) is not None:
            return called
        if self.dialogue.is_used_up:
            self.run.warn(self.dialogue.used_up)
        return super().ended(result, times)

    def tools_called(self, result: ChatResult, times: dict[str, float]) -> ToolsCalled | None:
        """Where the turn ended with calls of the server's tools alone."""
        written, names = result.choices[0], self.dialogue.names
        own = [call.name for call in written.calls if call.name in names]
        if not own:
            return None
        is_cut = written.finish_reason == "length"
        if is_cut or len(own) < len(written.calls):
            self.run.warn((CUT_OFF if is_cut else CLIENTS_FIRST).format(names=", ".join(dict.fromkeys(own))))
            return None
        calls: list[PartParams] = [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["arguments"]}
            for call in super().calls_of(0, written)
        ]
        tokens = {"prompt_tokens": result.prompt_tokens, "completion_tokens": written.completion_tokens}
        return ToolsCalled(self.run, self.dialogue, Turn(written.text, calls, {**tokens, **times}))

    def cut_calls(self, index: int, choice: Completion) -> list[dict[str, str]]:
        """The server's, too: the last broke off, and none was run."""
        is_cut = index == 0 and choice.finish_reason == "length"
        own = [call for call in super().calls_of(index, choice) if call["name"] in self.dialogue.names] if is_cut else []
        return [*({name: call[name] for name in ("name", "arguments")} for call in own), *super().cut_calls(index, choice)]

    def calls_of(self, index: int, choice: Completion) -> list[dict[str, str]]:
        """The client's. `text` beside them is this turn's alone."""
        return [call for call in super().calls_of(index, choice) if call["name"] not in self.dialogue.names]
