"""Chats on PyTorch: models that the loader owns, shared and evicted together with those that make pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

from api.chat.backends.batching import TorchBatch
from api.chat.backends.constraints import JsonGrammar, make_tokenizer
from api.chat.backends.decode import Engine, Voice
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatRequest, Listener
from api.loading.chat import ChatModel
from api.model_loader import ModelLoader, Progress

PICTURE_TOKENS = ("image_token_id", "image_token_index", "video_token_id", "vision_start_token_id")


class TorchBackend:
    """The chats of one model that are under way. The model is pinned only within a call."""

    name = "pytorch"

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self.loader, self.entry = loader, loader.catalog.get(model_id)
        self.engine = Engine(TorchBatch())

    @property
    def rows(self) -> int:
        return len(self.engine.rows)

    def admit(self, request: ChatRequest, listener: Listener, on_progress: Progress | None = None) -> float:
        """Load the model where needed, read the prompt, write the first token. The seconds that loading took.

        Raises ChatError, and what `ModelLoader.use` raises.
        """
        with self.loader.use(self.entry.id, self.entry.task, on_progress) as lease:
            chat, voice = lease.pipeline, voice_of(lease.pipeline)
            prompt = encode(chat, request)
            for attempt in self.loader.ladder(lease, batch_size=1):
                with attempt:
                    self.engine.admit(chat.model, voice, prompt, request.sampling, listener)
            return lease.load_seconds

    def step(self) -> bool:
        """One more token of every answer. Whether there was one to write."""
        if not self.engine.rows:
            return False
        with self.loader.use(self.entry.id, self.entry.task) as lease:
            self.engine.step(lease.pipeline.model)
        return True

    def close(self) -> None:
        """The caches of what was being written go at once."""
        self.engine = Engine(TorchBatch())


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


def grammar_for(chat: ChatModel, schema: dict[str, Any]) -> JsonGrammar:
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
