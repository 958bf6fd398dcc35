"""What a backend says of a chat, written as events of its job, and how the chat ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from api.chat.backends.request import ChatResult, Completion
from api.chat.server_tools.calling import Turn
from api.chat.server_tools.dialogue import USED_UP, Dialogue
from api.chat.server_tools.visible import GAP
from api.chat.spec import ChatSpec, PartParams
from api.errors import DarkroomError
from api.jobs.running import Failed, Finished, Outcome, RunningJob
from api.json_types import JsonObject

Run = RunningJob[ChatSpec]
COALESCE_SECONDS = 0.05  # of text: what comes within it is one event
PROGRESS_STEPS = 100
CLIENTS_FIRST = "{names} was not run: a call of the client's own tool ended the answer."
CUT_OFF = "{names} was not run: the answer was cut at the most tokens that it may have."


@dataclass(frozen=True)
class ToolsCalled:
    """A turn ended with calls of the server's tools: there is more to do before the job has an outcome."""

    running: Run
    dialogue: Dialogue
    turn: Turn


class JobCallbacks:
    """Writes a chat's text as token events of its job: the first text at once, later text coalesced over 50 ms."""

    def __init__(self, run: Run, backend: str, dialogue: Dialogue, report: Callable[[Outcome | ToolsCalled], None]) -> None:
        self.run, self.backend, self.dialogue, self.report = run, backend, dialogue, report
        self.started = time.monotonic()
        self.loading = 0.0
        self.first_token: float | None = None
        self.last_sent = 0.0
        self.texts: dict[int, str] = {}
        self.logprobs: dict[int, list[JsonObject]] = {}
        self.offsets: dict[int, int] = {}
        self.clients: dict[tuple[int, int], int] = {}
        """The client's own calls, by choice and number: their numbers without the server's."""
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
        """The server's own are told once they are whole."""
        if name in self.dialogue.names:
            return
        place = index, self.clients.setdefault((index, number), sum(key[0] == index for key in self.clients))
        call = self.calls.setdefault(place, {"id": self.call_id(index, number), "name": name, "arguments": ""})
        call["arguments"] += arguments
        self.send_soon()

    def call_id(self, index: int, number: int) -> str:
        """The same in an answer that is begun anew: its stream goes on where it was. No two turns of an answer have the same."""
        return f"call_{self.run.id.hex[-20:]}{index:x}{self.dialogue.calls_before + number:03x}"

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
        before = len(self.dialogue.progress.text)
        for index, text in self.texts.items():
            offset = self.offsets.get(index, before)
            if before and text and offset == before:
                text = GAP + text
            data: JsonObject = {"index": index, "offset": offset, "text": text}
            if self.logprobs.get(index):
                data["logprobs"] = self.logprobs[index]
            self.run.emit("token", data)
            self.offsets[index] = offset + len(text)
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
        times = {"first_token_seconds": round(first, 4), "seconds": round(seconds, 4)}
        self.report(self.calls_made(result, times) or self.finished(result, times))

    def calls_made(self, result: ChatResult, times: dict[str, float]) -> ToolsCalled | None:
        """Where the turn ended with calls of the server's tools alone."""
        written, names = result.choices[0], self.dialogue.names
        own = [call.name for call in written.calls if call.name in names]
        if not own:
            return None
        is_cut = written.finish_reason == "length"
        if is_cut or len(own) < len(written.calls):
            self.run.warn((CUT_OFF if is_cut else CLIENTS_FIRST).format(names=", ".join(dict.fromkeys(own))))
            return None
        calls = [self.call_part(0, number, written) for number in range(len(written.calls))]
        tokens = {"prompt_tokens": result.prompt_tokens, "completion_tokens": written.completion_tokens}
        return ToolsCalled(self.run, self.dialogue, Turn(written.text, calls, {**tokens, **times}))

    def call_part(self, index: int, number: int, written: Completion) -> PartParams:
        call = written.calls[number]
        return {"type": "tool_call", "id": self.call_id(index, number), "name": call.name, "arguments": call.arguments}

    def finished(self, result: ChatResult, times: dict[str, float]) -> Finished:
        if self.dialogue.is_used_up:
            self.run.warn(USED_UP.format(most=self.dialogue.most_turns))
        output = {
            "backend": self.backend,
            "model": result.model or self.run.job.model_id,
            "choices": [self.choice_of(index, choice) for index, choice in enumerate(result.choices)],
            "prompt_tokens": result.prompt_tokens,
            "cached_tokens": result.cached_tokens,
            **times,
        }
        return Finished(self.run, output)

    def choice_of(self, index: int, choice: Completion) -> JsonObject:
        """`text` is this turn's alone."""
        parts = [self.call_part(index, number, choice) for number in range(len(choice.calls))]
        calls = [
            {name: part[name] for name in ("id", "name", "arguments")}
            for part in parts
            if part["name"] not in self.dialogue.names
        ]  # type: ignore[literal-required]
        return {
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "completion_tokens": choice.completion_tokens,
            "logprobs": choice.logprobs or None,
            **({"tool_calls": calls} if calls else {}),
        }

    def on_error(self, error: DarkroomError) -> None:
        self.report(Failed(self.run, error))
