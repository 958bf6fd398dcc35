"""Chats on PyTorch, with models from the model loader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from api.chat.backends.decode import DecodeLoop, TokenizerSpec
from api.chat.backends.prefill import TorchPrefiller
from api.chat.backends.prefix_cache import CacheLimits, PromptCache
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatCallbacks, ChatRequest
from api.chat.backends.sampling import Grammar
from api.chat.backends.sequence_groups import TorchSequenceBatch
from api.errors import DarkroomError, DeviceFault
from api.json_types import JsonObject
from api.loading.chat import PROMPT_CACHE, ChatModel
from api.loading.oom_retry import OomRetry
from api.model_loader import Lease, ModelLoader, OutOfMemory, Progress

log = logging.getLogger("darkroom.models")

IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index", "video_token_id", "vision_start_token_id")


class TorchBackend:
    """All running chats of one model. The model is pinned during each call only. `limits`: of the prompt cache."""

    name = "pytorch"

    def __init__(self, loader: ModelLoader, model_id: str, limits: CacheLimits | None = None) -> None:
        self.loader, self.entry = loader, loader.catalog.get(model_id)
        self.limits = limits or CacheLimits()
        self.close()

    @property
    def rows(self) -> int:
        return self.decode_loop.answers

    def admit(self, request: ChatRequest, callbacks: ChatCallbacks, on_progress: Progress | None = None) -> None:
        """Load the model if needed, add the request and run its first chunk.

        Raises DarkroomError, and what `ModelLoader.use` raises.
        """
        with self.using(on_progress) as lease:
            chat, tokenizer_spec = lease.pipeline, tokenizer_spec_of(lease.pipeline)
            prompt = encode(chat, request)
            for attempt in self.loader.retry_on_oom(lease, batch_size=1):
                with attempt:
                    self.decode_loop.admit(chat.model, tokenizer_spec, prompt, request.sampling, callbacks)
            self.prefill(lease)

    def step(self) -> bool:
        """Run one prefill chunk and one decode step. False when there was nothing to do."""
        if not self.decode_loop.answers:
            return False
        with self.using() as lease:
            self.prefill(lease)
            self.decode_loop.step(
                lease.pipeline.model, partial(self.free_memory, self.loader.retry_on_oom(lease, batch_size=1))
            )
        return True

    def free_memory(self, retry: OomRetry, error: Exception) -> bool:
        """Empty caches, then unload other models, each once in a step. False when nothing is left to free."""
        try:
            retry.recover(error)
        except OutOfMemory:
            return False
        return True

    def close(self) -> None:
        """Drop all running sequences and their KV caches."""
        batch = TorchSequenceBatch()
        self.decode_loop = DecodeLoop(batch, TorchPrefiller(batch))

    @contextmanager
    def using(self, on_progress: Progress | None = None) -> Iterator[Lease]:
        with self.loader.use(self.entry.id, self.entry.task, on_progress) as lease:
            prefiller = self.decode_loop.prefiller
            if prefiller is not None:
                prefiller.cache = prompt_cache_of(lease.pipeline, self.limits)
            try:
                yield lease
            finally:
                if prefiller is not None:
                    prefiller.cache = PromptCache(CacheLimits())  # the model's own cache belongs to the model

    def prefill(self, lease: Lease) -> None:
        """Run one prefill chunk. Its error ends that request only."""
        try:
            for attempt in self.loader.retry_on_oom(lease, batch_size=1):
                with attempt:
                    self.decode_loop.prefill(lease.pipeline.model)
        except DeviceFault:
            raise
        except DarkroomError as error:
            self.decode_loop.fail_prefill(DarkroomError(error.code, error.status, error.detail))
        except Exception:
            log.exception("A prompt could not be read")
            self.decode_loop.fail_prefill(DarkroomError("internal_error", 500, "The job failed; the log has the reason."))
        self.decode_loop.start_answers()


def prompt_cache_of(chat: ChatModel, limits: CacheLimits) -> PromptCache:
    return chat.cached_objects.setdefault(PROMPT_CACHE, PromptCache(limits))  # type: ignore[no-any-return]


def tokenizer_spec_of(chat: ChatModel) -> TokenizerSpec:
    if "tokenizer_spec" not in chat.cached_objects:
        chat.cached_objects["tokenizer_spec"] = TokenizerSpec(
            tokenizer=chat.tokenizer.backend_tokenizer,
            eos_token_ids=frozenset(chat.eos_token_ids),
            banned_token_ids=image_token_ids(chat),
            context_length=chat.context_length,
            sampling_defaults=sampling_defaults_of(chat),
            grammar=partial(grammar_for, chat),
        )
    return chat.cached_objects["tokenizer_spec"]  # type: ignore[no-any-return]


def grammar_for(chat: ChatModel, schema: JsonObject) -> Grammar:
    from api.chat.backends.json_grammar import (  # llguidance, which only JSON under a schema needs
        JsonGrammar,
        make_grammar_tokenizer,
    )

    if "grammar" not in chat.cached_objects:
        chat.cached_objects["grammar"] = make_grammar_tokenizer(
            chat.tokenizer.backend_tokenizer, chat.eos_token_ids, chat.vocabulary
        )
    return JsonGrammar(chat.cached_objects["grammar"], schema)


def image_token_ids(chat: ChatModel) -> tuple[int, ...]:
    ids = {getattr(chat.config, name, None) for name in IMAGE_TOKEN_KEYS}
    return tuple(sorted(token for token in ids if isinstance(token, int) and token < chat.vocabulary))


def sampling_defaults_of(chat: ChatModel) -> JsonObject:
    """From the checkpoint's generation_config; greedy decoding without `do_sample`."""
    given = chat.generation
    if not given.do_sample:
        return {"temperature": 0.0, "top_p": None, "top_k": None}
    return {"temperature": given.temperature or 1.0, "top_p": given.top_p, "top_k": given.top_k}
