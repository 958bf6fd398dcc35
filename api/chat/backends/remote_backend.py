"""Chats on any OpenAI-compatible server (vLLM, a hosted provider), through OpenAI's client, streamed.

One thread for each chat reads the stream; it touches neither the database nor the device. `step`, called by the worker's main thread,
handles what the threads have read. A cancelled chat closes its stream at the next chunk, which tells the server to stop.
"""

from __future__ import annotations

import base64
import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import openai
from PIL import Image

from api import tracing
from api.chat.backends.request import (
    ChatCallbacks,
    ChatRequest,
    ChatResult,
    Completion,
    MessagePart,
    Sampling,
    Turn,
    WrittenCall,
)
from api.chat.schema_keywords import enforceable
from api.chat.spec import TOO_LONG
from api.chat.tools.use import ToolUse
from api.errors import DarkroomError
from api.files.formats import FORMATS, encode
from api.json_text import TextPieces
from api.json_types import JsonObject

log = logging.getLogger("darkroom.models")
POLL_SECONDS = 0.05
DEFAULT_ERROR = ("remote_failed", 502, "The remote chat server could not answer.")
ERRORS_BY_STATUS: dict[int, tuple[str, int, str]] = {
    401: ("remote_unauthorized", 502, "The remote chat server does not accept this server's key: check CHAT_REMOTE_KEY."),
    403: ("remote_forbidden", 502, "The key in CHAT_REMOTE_KEY has no right to use this model."),
    404: ("remote_model_unknown", 400, "The remote chat server does not offer this model."),
    413: ("remote_refused", 400, "The request is too large for the remote chat server."),
    429: ("remote_busy", 503, "The remote chat server has too many requests; try again later."),
    503: ("remote_busy", 503, "The remote chat server is not ready; try again later."),
}


class RemoteBackend:
    """`model`: its name on the server. `timeout`: seconds without data. `retries`: further attempts after a transient error."""

    name = "remote"

    def __init__(self, *, url: str, key: str, model: str, timeout: float, retries: int = 2) -> None:
        self.model = model
        self.client = openai.OpenAI(base_url=url, api_key=key or "none", timeout=timeout, max_retries=retries)
        self.events: queue.Queue[Callable[[], None]] = queue.Queue()
        self.chats: list[RemoteChat] = []

    @property
    def rows(self) -> int:
        return len(self.chats)

    def admit(self, request: ChatRequest, callbacks: ChatCallbacks, on_progress: object = None) -> None:
        chat = RemoteChat(self, request, callbacks)
        self.chats.append(chat)
        chat.start()

    def step(self) -> bool:
        """Handle the received events. False when none came within POLL_SECONDS."""
        for chat in list(self.chats):
            if chat.callbacks.cancelled():
                chat.cancel()
        try:
            handle = self.events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return False
        handle()
        while not self.events.empty():
            self.events.get()()
        return True

    def close(self) -> None:
        for chat in list(self.chats):
            chat.cancel()

    def remove(self, chat: RemoteChat) -> None:
        if chat in self.chats:
            self.chats.remove(chat)


class RemoteChat(threading.Thread):
    """The thread that reads one chat's stream."""

    def __init__(self, backend: RemoteBackend, request: ChatRequest, callbacks: ChatCallbacks) -> None:
        super().__init__(name="remote-chat", daemon=True)
        self.backend, self.request, self.callbacks = backend, request, callbacks
        self.stop_requested = threading.Event()
        self.trace_parent = tracing.traceparent()  # of the thread that starts this one
        self.result = ChatResult([Completion() for _ in range(request.sampling.n)])
        self.pieces: defaultdict[object, TextPieces] = defaultdict(TextPieces)
        """Of each choice's text, and of each call's arguments."""

    def run(self) -> None:
        try:
            about = {"gen_ai.request.model": self.backend.model}
            with tracing.call("remote chat", about, self.trace_parent) as headers, self.open_stream(headers) as stream:
                for chunk in stream:
                    if self.stop_requested.is_set():
                        return
                    self.post(partial(self.on_chunk, chunk))
            self.post(self.on_stream_end)
        except Exception as error:  # whatever it is, the chat must end
            if not self.stop_requested.is_set():
                log.warning("remote chat: %s", type(error).__name__)
                problem = error_of(error)
                self.post(partial(self.on_failure, problem))

    def open_stream(self, headers: dict[str, str]) -> Any:
        client, body = self.backend.client, request_body(self.request, self.backend.model)
        body["extra_headers"] = headers or None
        return client.chat.completions.create(**body) if self.request.prompt is None else client.completions.create(**body)

    def post(self, handle: Callable[[], None]) -> None:
        """Have the worker's main thread call `handle`."""
        self.backend.events.put(handle)

    def cancel(self) -> None:
        """Stop reading. The thread closes its own stream at the next chunk: httpx streams must be closed by the thread that reads them."""
        self.stop_requested.set()
        self.backend.remove(self)

    # -- In the worker's main thread ----------------------------------------------------------------------------------------------

    def on_chunk(self, chunk: Any) -> None:
        if self.stop_requested.is_set():
            return
        self.result.model = chunk.model or self.result.model
        if chunk.usage is not None:
            self.result.prompt_tokens = chunk.usage.prompt_tokens
            self.result.cached_tokens = getattr(chunk.usage.prompt_tokens_details, "cached_tokens", None) or 0
            self.result.choices[0].completion_tokens = chunk.usage.completion_tokens
        for part in chunk.choices:
            self.on_choice(part)

    def on_choice(self, part: Any) -> None:
        if not 0 <= part.index < len(self.result.choices):
            return
        choice = self.result.choices[part.index]
        text, tables = raw_piece(part) if self.request.prompt is not None else chat_piece(part)
        text = self.pieces[part.index].push(text)
        choice.finish_reason = part.finish_reason or choice.finish_reason
        choice.text += text
        choice.logprobs += tables
        if text or tables:
            self.callbacks.on_text(part.index, text, tables)
        for piece in (part.delta.tool_calls or ()) if self.request.prompt is None else ():
            self.on_call(part.index, choice, piece)

    def on_call(self, index: int, choice: Completion, piece: Any) -> None:
        """The next piece of a call; one that skips a number has no place."""
        function = piece.function
        name, arguments = (function.name or "", function.arguments or "") if function else ("", "")
        arguments = self.pieces[index, piece.index].push(arguments)
        if piece.index == len(choice.calls) and name:
            choice.calls.append(WrittenCall(name))
            self.callbacks.on_call(index, piece.index, name, "")
        if arguments and 0 <= piece.index < len(choice.calls):
            call = choice.calls[piece.index]
            call.arguments += arguments
            self.callbacks.on_call(index, piece.index, call.name, arguments)

    def on_stream_end(self) -> None:
        if self.stop_requested.is_set():
            return
        self.backend.remove(self)
        if not all(choice.finish_reason for choice in self.result.choices):
            self.callbacks.on_error(DarkroomError("remote_bad_answer", 502, "The remote chat server's answer broke off."))
        else:
            self.callbacks.on_end(self.result)

    def on_failure(self, error: DarkroomError) -> None:
        self.backend.remove(self)
        self.callbacks.on_error(error)


# ---------------------------------------------------------------- the request


BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")


def request_body(request: ChatRequest, model: str) -> dict[str, Any]:
    sampling = request.sampling
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty or None,
        "frequency_penalty": sampling.frequency_penalty or None,
        "max_tokens": sampling.max_tokens or sampling.default_max_tokens,
        "seed": sampling.seed,
        "logit_bias": dict(sampling.logit_bias) or None,
        "stop": list(sampling.stop) or None,
        "n": sampling.n if sampling.n > 1 else None,
        **(chat_logprobs(sampling) if request.prompt is None else {"logprobs": raw_logprobs(sampling)}),
        "response_format": format_of(sampling.schema),
        **tool_options(request.tool_use),
        "extra_body": {name: value for name in BEYOND_OPENAI if (value := getattr(sampling, name))} or None,
    }
    return {
        "model": model,
        **(asked_of(request)),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in options.items() if value is not None},
    }


def asked_of(request: ChatRequest) -> dict[str, Any]:
    if request.prompt is None:
        return {"messages": [message_of(turn) for turn in request.turns]}
    return {"prompt": request.prompt if isinstance(request.prompt, str) else list(request.prompt)}


def chat_logprobs(sampling: Sampling) -> dict[str, Any]:
    return {"logprobs": sampling.logprobs or None, "top_logprobs": sampling.top_logprobs or None}


def raw_logprobs(sampling: Sampling) -> int | None:
    return sampling.top_logprobs if sampling.logprobs else None


def chat_piece(part: Any) -> tuple[str, list[JsonObject]]:
    """A chunk's text, and the entries of its tokens."""
    tables = (part.logprobs.content or []) if part.logprobs else []
    return part.delta.content or "", [entry.model_dump() for entry in tables]


def raw_piece(part: Any) -> tuple[str, list[JsonObject]]:
    """The same of a completion, whose form of log-probabilities is the older one."""
    given = part.logprobs
    if not given or not given.tokens:
        return part.text or "", []
    tops = given.top_logprobs or [None] * len(given.tokens)
    offsets = given.text_offset or [0, *accumulate(map(len, given.tokens))]
    found = zip(given.tokens, given.token_logprobs or [], tops, offsets, strict=False)
    return part.text or "", [
        {**token_entry(token, logprob), "top_logprobs": [token_entry(*one) for one in (top or {}).items()], "offset": offset}
        for token, logprob, top, offset in found
    ]


def token_entry(token: str, logprob: float | None) -> JsonObject:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}


def tool_options(use: ToolUse | None) -> dict[str, Any]:
    if use is None:
        return {}
    named = {"type": "function", "function": {"name": use.name}}
    choice = named if use.is_named else use.choice
    tools = [tool.definition for tool in use.tools]
    return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": None if use.parallel else False}


def message_of(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": content_of(turn)}
    if turn.calls:
        calls = [(call.id, {"name": call.name, "arguments": call.arguments}) for call in turn.calls]
        message["tool_calls"] = [{"id": id, "type": "function", "function": function} for id, function in calls]
    if turn.answers is not None:
        message["tool_call_id"] = turn.answers.id
    return message


def format_of(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if schema is None:
        return None
    if not schema:
        return {"type": "json_object"}
    found = enforceable(schema)
    shown = found.schema if found.ignored else schema  # what this server says to have no effect is refused by some others
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": shown, "strict": True}}


def content_of(turn: Turn) -> str | list[dict[str, Any]]:
    if all(part.image is None for part in turn.parts):
        return turn.text
    return [{"type": "text", "text": part.text} if part.image is None else picture_of(part, part.image) for part in turn.parts]


def picture_of(part: MessagePart, image: Image.Image) -> dict[str, Any]:
    png = FORMATS["png"]
    url = f"data:{png.content_type};base64,{base64.b64encode(encode(image, png)).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": part.detail}}


def error_of(error: Exception) -> DarkroomError:
    """Our own error for a client library's. The server's text is never passed on: it may contain an address or a key."""
    if isinstance(error, openai.APITimeoutError):
        return DarkroomError("remote_timeout", 504, "The remote chat server did not answer in time.")
    if isinstance(error, openai.APIConnectionError):
        return DarkroomError("remote_unreachable", 502, "The remote chat server can't be reached.")
    if isinstance(error, openai.APIStatusError):
        if is_too_long(error):
            return DarkroomError(
                "context_length_exceeded", 400, f"{TOO_LONG} for the remote chat server's model.", field="messages"
            )
        if error.status_code in (400, 422):
            return DarkroomError("remote_refused", 400, "The remote chat server does not accept these messages or parameters.")
        return DarkroomError(*ERRORS_BY_STATUS.get(error.status_code, DEFAULT_ERROR))
    return DarkroomError(*DEFAULT_ERROR)


def is_too_long(error: openai.APIStatusError) -> bool:
    """By OpenAI's code, or by the words of servers that have none."""
    return error.code == "context_length_exceeded" or (error.status_code == 400 and "maximum context length" in error.message)
