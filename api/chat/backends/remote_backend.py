"""Chats on any OpenAI-compatible server (vLLM, a hosted provider): asked through OpenAI's own client, streamed, and passed on.

Each chat is read in a thread of its own, which touches neither the database nor the device; what it reads is told in `step`, by the
thread that works for all chats. A chat that is cancelled closes its stream at the next chunk, which is how such servers are told to
stop.
"""

from __future__ import annotations

import base64
import io
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import openai
from PIL import Image

from api.chat.backends.request import ChatRequest, Choice, Listener, Part, Reply, Turn
from api.errors import DarkroomError

log = logging.getLogger("darkroom.models")
WAIT_SECONDS = 0.05
FAILED = ("remote_failed", 502, "The remote chat server could not answer.")
ANSWERS: dict[int, tuple[str, int, str]] = {
    401: ("remote_unauthorized", 502, "The remote chat server does not accept this server's key: check CHAT_REMOTE_KEY."),
    403: ("remote_forbidden", 502, "The key in CHAT_REMOTE_KEY has no right to use this model."),
    404: ("remote_model_unknown", 400, "The remote chat server does not offer this model."),
    413: ("remote_refused", 400, "The request is too large for the remote chat server."),
    429: ("remote_busy", 503, "The remote chat server has too many requests; try again later."),
    503: ("remote_busy", 503, "The remote chat server is not ready; try again later."),
}


class RemoteBackend:
    """`model`: its name on the server. `timeout`: seconds without a sign of it; what may pass is tried `retries` times more."""

    name = "remote"

    def __init__(self, *, url: str, key: str, model: str, timeout: float, retries: int = 2) -> None:
        self.model = model
        self.client = openai.OpenAI(base_url=url, api_key=key or "none", timeout=timeout, max_retries=retries)
        self.told: queue.Queue[Callable[[], None]] = queue.Queue()
        self.readers: list[Reader] = []

    @property
    def rows(self) -> int:
        return len(self.readers)

    def admit(self, request: ChatRequest, listener: Listener, on_progress: Any = None) -> None:
        reader = Reader(self, request, listener)
        self.readers.append(reader)
        reader.start()

    def step(self) -> bool:
        """Tell what has come. False after WAIT_SECONDS in which nothing did."""
        for reader in list(self.readers):
            if reader.listener.cancelled():
                reader.leave()
        try:
            tell = self.told.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return False
        tell()
        while not self.told.empty():
            self.told.get()()
        return True

    def close(self) -> None:
        for reader in list(self.readers):
            reader.leave()

    def forget(self, reader: Reader) -> None:
        if reader in self.readers:
            self.readers.remove(reader)


class Reader(threading.Thread):
    """Reads one answer."""

    def __init__(self, backend: RemoteBackend, request: ChatRequest, listener: Listener) -> None:
        super().__init__(name="remote-chat", daemon=True)
        self.backend, self.request, self.listener = backend, request, listener
        self.left = threading.Event()
        self.reply = Reply([Choice() for _ in range(request.sampling.n)])

    def run(self) -> None:
        try:
            with self.backend.client.chat.completions.create(**asked(self.request, self.backend.model)) as stream:
                for chunk in stream:
                    if self.left.is_set():
                        return
                    self.tell(partial(self.take, chunk))
            self.tell(self.end)
        except Exception as error:  # whatever it is, the chat must end
            if not self.left.is_set():
                log.warning("remote chat: %s", type(error).__name__)
                failure = failure_of(error)
                self.tell(partial(self.fail, failure))

    def tell(self, what: Callable[[], None]) -> None:
        self.backend.told.put(what)

    def leave(self) -> None:
        """Nobody listens any more. The thread itself closes its stream at the next chunk: another's hand would leave it half open."""
        self.left.set()
        self.backend.forget(self)

    # -- In the thread that works for all chats ----------------------------------------------------------------------------------

    def take(self, chunk: Any) -> None:
        if self.left.is_set():
            return
        self.reply.model = chunk.model or self.reply.model
        if chunk.usage is not None:
            self.reply.prompt_tokens = chunk.usage.prompt_tokens
            self.reply.cached_tokens = getattr(chunk.usage.prompt_tokens_details, "cached_tokens", None) or 0
            self.reply.choices[0].completion_tokens = chunk.usage.completion_tokens
        for part in chunk.choices:
            self.take_choice(part)

    def take_choice(self, part: Any) -> None:
        if not 0 <= part.index < len(self.reply.choices):
            return
        choice, text = self.reply.choices[part.index], part.delta.content or ""
        tables = [entry.model_dump() for entry in (part.logprobs.content or [])] if part.logprobs else []
        choice.finish_reason = part.finish_reason or choice.finish_reason
        choice.text += text
        choice.logprobs += tables
        if text or tables:
            self.listener.on_text(part.index, text, tables)

    def end(self) -> None:
        if self.left.is_set():
            return
        self.backend.forget(self)
        if not all(choice.finish_reason for choice in self.reply.choices):
            self.listener.on_error(DarkroomError("remote_bad_answer", 502, "The remote chat server's answer broke off."))
        else:
            self.listener.on_end(self.reply)

    def fail(self, error: DarkroomError) -> None:
        self.backend.forget(self)
        self.listener.on_error(error)


# ---------------------------------------------------------------- the request


BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")


def asked(request: ChatRequest, model: str) -> dict[str, Any]:
    sampling = request.sampling
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty or None,
        "frequency_penalty": sampling.frequency_penalty or None,
        "max_tokens": sampling.max_tokens or sampling.default_max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "n": sampling.n if sampling.n > 1 else None,
        "logprobs": sampling.logprobs or None,
        "top_logprobs": sampling.top_logprobs or None,
        "response_format": format_of(sampling.schema),
        "extra_body": {name: value for name in BEYOND_OPENAI if (value := getattr(sampling, name))} or None,
    }
    return {
        "model": model,
        "messages": [{"role": turn.role, "content": content_of(turn)} for turn in request.turns],
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in given.items() if value is not None},
    }


def format_of(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if schema is None:
        return None
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def content_of(turn: Turn) -> str | list[dict[str, Any]]:
    if all(part.image is None for part in turn.parts):
        return turn.text
    return [{"type": "text", "text": part.text} if part.image is None else picture_of(part, part.image) for part in turn.parts]


def picture_of(part: Part, image: Image.Image) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": part.detail}}


def failure_of(error: Exception) -> DarkroomError:
    """Never the server's own words: they may hold its address, or a key."""
    if isinstance(error, openai.APITimeoutError):
        return DarkroomError("remote_timeout", 504, "The remote chat server did not answer in time.")
    if isinstance(error, openai.APIConnectionError):
        return DarkroomError("remote_unreachable", 502, "The remote chat server can't be reached.")
    if isinstance(error, openai.APIStatusError):
        if error.status_code in (400, 422):
            return DarkroomError("remote_refused", 400, "The remote chat server does not accept these messages or parameters.")
        return DarkroomError(*ANSWERS.get(error.status_code, FAILED))
    return DarkroomError(*FAILED)
