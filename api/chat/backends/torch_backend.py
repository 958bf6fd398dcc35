"""Chats on PyTorch: models that the loader owns, shared and evicted together with those that make pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from api.chat.backends.batching import TorchBatch
from api.chat.backends.decode import Engine, Voice
from api.chat.backends.prefix_cache import Limits, Memory
from api.chat.backends.prompting import encode
from api.chat.backends.reading import TorchReader
from api.chat.backends.request import ChatRequest, Listener
from api.chat.backends.sampling import Grammar
from api.errors import DarkroomError, DeviceFault
from api.loading.chat import MEMORY, ChatModel
from api.loading.ladder import Ladder
from api.model_loader import Lease, ModelLoader, OutOfMemory, Progress

log = logging.getLogger("darkroom.models")

PICTURE_TOKENS = ("image_token_id", "image_token_index", "video_token_id", "vision_start_token_id")


class TorchBackend:
    """The chats of one model that are under way. The model is pinned only within a call. `limits`: of what is kept of chats that end."""

    name = "pytorch"

    def __init__(self, loader: ModelLoader, model_id: str, limits: Limits | None = None) -> None:
        self.loader, self.entry = loader, loader.catalog.get(model_id)
        self.limits = limits or Limits()
        self.close()

    @property
    def rows(self) -> int:
        return self.engine.answers

    def admit(self, request: ChatRequest, listener: Listener, on_progress: Progress | None = None) -> None:
        """Load the model where needed, read the prompt or a piece of it, and write the first token if that was all of it.

        Raises DarkroomError, and what `ModelLoader.use` raises.
        """
        with self.using(on_progress) as lease:
            chat, voice = lease.pipeline, voice_of(lease.pipeline)
            prompt = encode(chat, request)
            for attempt in self.loader.ladder(lease, batch_size=1):
                with attempt:
                    self.engine.admit(chat.model, voice, prompt, request.sampling, listener)
            self.read(lease)

    def step(self) -> bool:
        """A piece of a prompt, and one more token of every answer. Whether there was anything to do."""
        if not self.engine.answers:
            return False
        with self.using() as lease:
            self.read(lease)
            self.engine.step(lease.pipeline.model, partial(self.free, self.loader.ladder(lease, batch_size=1)))
        return True

    def free(self, ladder: Ladder, error: Exception) -> bool:
        """Empty caches, then unload other models; each once a step. False where nothing is left to do."""
        try:
            ladder.step_down(error)
        except OutOfMemory:
            return False
        return True

    def close(self) -> None:
        """The caches of what was being written go at once."""
        batch = TorchBatch()
        self.engine = Engine(batch, TorchReader(batch))

    @contextmanager
    def using(self, on_progress: Progress | None = None) -> Iterator[Lease]:
        with self.loader.use(self.entry.id, self.entry.task, on_progress) as lease:
            reader = self.engine.reader
            if reader is not None:
                reader.memory = memory_of(lease.pipeline, self.limits)
            try:
                yield lease
            finally:
                if reader is not None:
                    reader.memory = Memory(Limits())  # the model's own goes with it

    def read(self, lease: Lease) -> None:
        """A piece of a prompt. Its trouble is not its neighbours'."""
        try:
            for attempt in self.loader.ladder(lease, batch_size=1):
                with attempt:
                    self.engine.read(lease.pipeline.model)
        except DeviceFault:
            raise
        except DarkroomError as error:
            self.engine.give_up(DarkroomError(error.code, error.status, error.detail))
        except Exception:
            log.exception("A prompt could not be read")
            self.engine.give_up(DarkroomError("internal_error", 500, "The job failed; the log has the reason."))
        self.engine.begin_answers()


def memory_of(chat: ChatModel, limits: Limits) -> Memory:
    return chat.kept.setdefault(MEMORY, Memory(limits))  # type: ignore[no-any-return]


def voice_of(chat: ChatModel) -> Voice:
    if "voice" not in chat.kept:
        chat.kept["voice"] = Voice(
            tokenizer=chat.tokenizer.backend_tokenizer,
            ends=frozenset(chat.ends),
            banned=picture_tokens(chat),
            context=chat.context,
            defaults=defaults_of(chat),
            grammar=partial(grammar_for, chat),
        )
    return chat.kept["voice"]  # type: ignore[no-any-return]


def grammar_for(chat: ChatModel, schema: dict[str, Any]) -> Grammar:
    from api.chat.backends.constraints import JsonGrammar, make_tokenizer  # llguidance, which only JSON under a schema needs

    if "grammar" not in chat.kept:
        chat.kept["grammar"] = make_tokenizer(chat.tokenizer.backend_tokenizer, chat.ends, chat.vocabulary)
    return JsonGrammar(chat.kept["grammar"], schema)


def picture_tokens(chat: ChatModel) -> tuple[int, ...]:
    ids = {getattr(chat.config, name, None) for name in PICTURE_TOKENS}
    return tuple(sorted(token for token in ids if isinstance(token, int) and token < chat.vocabulary))


def defaults_of(chat: ChatModel) -> dict[str, Any]:
    """The checkpoint's own generation_config; without `do_sample` the likeliest token is taken."""
    given = chat.generation
    if not given.do_sample:
        return {"temperature": 0.0, "top_p": None, "top_k": None}
    return {"temperature": given.temperature or 1.0, "top_p": given.top_p, "top_k": given.top_k}
