"""One answer while it is generated: its sampler, what its tokens say as text and as calls of tools, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer

from api.chat.backends.detokenizer import Detokenizer
from api.chat.backends.request import Completion, Sampling, WrittenCall
from api.chat.backends.sampling import Grammar, SampledToken, Sampler, logprobs_entry
from api.chat.tools.calls import ArgumentsPiece, CallBegins, CallReader, Event, TextPiece
from api.chat.tools.formats import PLAIN, ToolFormat
from api.chat.tools.use import ToolUse


@dataclass(frozen=True)
class TokenizerSpec:
    """What the decode loop needs to turn a model's logits into text."""

    tokenizer: Tokenizer
    eos_token_ids: frozenset[int]
    """Tokens that end a sequence."""
    banned_token_ids: tuple[int, ...]
    """Tokens that are never sampled, such as image placeholders."""
    context_length: int
    vocabulary: int
    sampling_defaults: dict[str, Any]
    """temperature, top_p and top_k for requests that set none."""
    grammar: Callable[[Sampling, ToolUse | None], Grammar | None]
    tool_format: ToolFormat = PLAIN
    special_markers: Mapping[int, str] = field(default_factory=dict)
    """Special tokens that mark the model's tool calls."""


@dataclass
class NewPieces:
    """What a token brought. `logprobs`: of the tokens in it, text and calls alike."""

    events: list[Event]
    logprobs: list[dict[str, Any]]


class SequenceState:
    """One sequence (a `choice` in OpenAI's terms) that is being generated."""

    def __init__(
        self,
        tokenizer_spec: TokenizerSpec,
        sampling: Sampling,
        index: int,
        limit: int,
        prompt_token_ids: Sequence[int] = (),
        tool_use: ToolUse | None = None,
    ) -> None:
        grammar = tokenizer_spec.grammar(sampling, tool_use)
        self.tokenizer_spec, self.sampling, self.index, self.limit, self.grammar = (
            tokenizer_spec,
            sampling,
            index,
            limit,
            grammar,
        )
        options: dict[str, Any] = {
            "grammar": grammar,
            "banned_token_ids": tokenizer_spec.banned_token_ids,
            "eos_token_ids": tokenizer_spec.eos_token_ids,
            "prompt_token_ids": prompt_token_ids,
        }
        self.sampler = Sampler(sampling, sampling.seed + index, **options)
        self.tool_use = tool_use
        self.reader = CallReader(tokenizer_spec.tool_format, tool_use.constrained.names) if tool_use else None
        kept = tokenizer_spec.special_markers if tool_use else None
        self.stream = Detokenizer(tokenizer_spec.tokenizer, sampling.stop, kept)
        self.choice = Completion()
        self.last = -1
        self.pending: list[dict[str, Any]] = []  # logprobs of tokens whose text is held back

    @property
    def done(self) -> bool:
        return bool(self.choice.finish_reason)

    def add_token(self, logits: torch.Tensor) -> NewPieces:
        """Sample one token. Returns what can be sent now."""
        sampled = self.sampler.sample(logits, self.limit - self.choice.completion_tokens)
        self.last = sampled.token
        self.choice.completion_tokens += 1
        if sampled.token in self.tokenizer_spec.eos_token_ids:
            return self.end("stop", "")
        begin = len(self.stream.decoded)
        text = self.stream.push(sampled.token)
        self.record_logprobs(sampled, begin)
        if self.stream.stopped or (self.grammar is not None and self.grammar.complete):
            return self.end("stop", text)
        if self.choice.completion_tokens >= self.limit:
            return self.end("length", text)
        return self.append(text, self.release(text, whole=not self.stream.filter.pending))

    def end(self, reason: str, text: str) -> NewPieces:
        text += self.stream.flush()
        pieces = self.append(text, self.release(text, whole=not self.stream.stopped), is_last=True)
        has_called = bool(self.choice.calls) and self.tool_use is not None and not self.tool_use.is_named  # as OpenAI has it
        self.choice.finish_reason = "tool_calls" if reason == "stop" and has_called else reason
        return pieces

    def append(self, text: str, logprobs: list[dict[str, Any]], *, is_last: bool = False) -> NewPieces:
        events: list[Event] = [TextPiece(text)] if text else []
        if self.reader is not None:
            events = self.reader.feed(text) + (self.reader.finish() if is_last else [])
            if self.tool_use is not None and self.tool_use.is_forced and self.grammar is not None:
                self.choice.broken_off += "".join(event.text for event in events if isinstance(event, TextPiece))
                events = [event for event in events if not isinstance(event, TextPiece)]
        for event in events:
            self.record(event)
        self.choice.logprobs += logprobs
        return NewPieces(events, logprobs)

    def record(self, event: Event) -> None:
        match event:
            case TextPiece(text):
                self.choice.text += text
            case CallBegins(_, name):
                self.choice.calls.append(WrittenCall(name))
            case ArgumentsPiece(number, text):
                self.choice.calls[number].arguments += text

    def record_logprobs(self, sampled: SampledToken, begin: int) -> None:
        if self.sampling.logprobs:
            place = {"offset": begin} if self.sampling.text_offsets else {}
            self.pending.append({**logprobs_entry(self.tokenizer_spec.tokenizer, sampled), **place})

    def release(self, text: str, *, whole: bool) -> list[dict[str, Any]]:
        """The logprobs of the tokens in `text`. Those of withheld text stay pending; those of a stop string are dropped."""
        count, length = 0, 0
        while count < len(self.pending) and (whole or length + len(self.pending[count]["token"]) <= len(text)):
            length += len(self.pending[count]["token"])
            count += 1
        released, self.pending = self.pending[:count], self.pending[count:]
        return released
