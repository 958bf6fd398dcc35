"""Chats on PyTorch, with models from the model loader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from api.chat.backends.decode import DecodeLoop
from api.chat.backends.prefill import TorchPrefiller
from api.chat.backends.prefix_cache import CacheLimits, PromptCache
from api.chat.backends.prompting import encode, image_token_ids
from api.chat.backends.request import ChatCallbacks, ChatRequest, Sampling
from api.chat.backends.sampling import Grammar
from api.chat.backends.sequence_groups import TorchSequenceBatch
from api.chat.backends.sequences import TokenizerSpec
from api.chat.backends.templates import template_of
from api.chat.json_schemas import closing_length
from api.chat.schema_keywords import grammar_of
from api.chat.tools.formats import ToolFormat, format_of
from api.chat.tools.grammar import calls_grammar
from api.chat.tools.use import AUTO, ToolUse
from api.errors import DarkroomError, DeviceFault
from api.json_types import JsonObject
from api.loading.chat import PROMPT_CACHE, ChatModel
from api.loading.oom_retry import OomRetry
from api.model_loader import Lease, ModelLoader, OutOfMemory, Progress

if TYPE_CHECKING:
    from api.chat.backends.grammars import AnswerGrammar

log = logging.getLogger("darkroom.models")


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
                    self.decode_loop.admit(chat.model, tokenizer_spec, prompt, request, callbacks)
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
            vocabulary=chat.vocabulary,
            sampling_defaults=sampling_defaults_of(chat),
            grammar=partial(grammar_for, chat),
            tool_format=tool_format_of(chat),
            special_markers=special_markers(chat),
        )
    return chat.cached_objects["tokenizer_spec"]  # type: ignore[no-any-return]


def grammar_for(chat: ChatModel, sampling: Sampling, use: ToolUse | None) -> Grammar | None:
    """What an answer must follow: a request's schema, the calls that it wants, or either. None for free text."""
    if use is None:
        return None if sampling.schema is None else schema_grammar(chat, sampling.schema)
    if use.choice == AUTO and sampling.schema is None:
        return triggered_grammar(chat, use)
    answer = sampling.schema if use.choice == AUTO else None
    grammar = calls_grammar(tool_format_of(chat), use.constrained, marker_ids(chat), answer)
    return answer_grammar(chat, grammar, "tools", max(use.closing_length, closing_length(answer) if answer else 0))


def schema_grammar(chat: ChatModel, schema: JsonObject) -> Grammar:
    return answer_grammar(chat, grammar_of(schema), "response_format", closing_length(schema))


def triggered_grammar(chat: ChatModel, use: ToolUse) -> Grammar | None:
    """None where calls begin with no token of their own: then they are written as the model writes them."""
    tool_format, token_ids = tool_format_of(chat), marker_ids(chat)
    begin = tool_format.blocks[0].begin
    if begin not in token_ids:
        return None
    from api.chat.backends.grammars import TriggeredGrammar

    block = replace(use, parallel=use.parallel and tool_format.is_list)  # others begin each call anew
    make = partial(answer_grammar, chat, calls_grammar(tool_format, block, token_ids), "tools", use.closing_length)
    return TriggeredGrammar(token_ids[begin], make, is_once=not use.parallel)


def answer_grammar(chat: ChatModel, grammar: str, field: str, reserve: int) -> AnswerGrammar:
    from api.chat.backends.grammars import (
        AnswerGrammar,
        make_grammar_tokenizer,
    )  # llguidance, which only constrained answers need

    if "grammar" not in chat.cached_objects:
        chat.cached_objects["grammar"] = make_grammar_tokenizer(
            chat.tokenizer.backend_tokenizer, chat.eos_token_ids, chat.vocabulary
        )
    return AnswerGrammar(chat.cached_objects["grammar"], grammar, field, reserve)


def tool_format_of(chat: ChatModel) -> ToolFormat:
    if "tool_format" not in chat.cached_objects:
        chat.cached_objects["tool_format"] = format_of(template_of(chat))
    return chat.cached_objects["tool_format"]  # type: ignore[no-any-return]


def marker_ids(chat: ChatModel) -> dict[str, int]:
    """The marks of its calls that are tokens of their own."""
    added = chat.tokenizer.added_tokens_encoder
    return {marker: added[marker] for marker in tool_format_of(chat).markers if marker in added}


def special_markers(chat: ChatModel) -> dict[int, str]:
    """Those that are special, which a tokenizer leaves out of a text."""
    special = {token for token, added in chat.tokenizer.added_tokens_decoder.items() if added.special}
    return {token: marker for marker, token in marker_ids(chat).items() if token in special}


def sampling_defaults_of(chat: ChatModel) -> JsonObject:
    """From the checkpoint's generation_config; greedy decoding without `do_sample`."""
    given = chat.generation
    if not given.do_sample:
        return {"temperature": 0.0, "top_p": None, "top_k": None}
    return {"temperature": given.temperature or 1.0, "top_p": given.top_p, "top_k": given.top_k}
