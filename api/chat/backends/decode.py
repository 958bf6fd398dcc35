"""The decode loop that all local backends share: logits in, sampled answers out.

Requests join and leave between two tokens (continuous batching): `admit` adds a request, `prefill` runs one chunk of one prompt,
`start_answers` samples the first token of finished prompts, `step` samples one token for every running sequence. A cancelled request
is removed at its next chunk or token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from api.chat.backends.prefix_cache import PromptCache
from api.chat.backends.request import ChatCallbacks, ChatRequest, ChatResult, ChatTooLarge, Sampling
from api.chat.backends.sequences import NewPieces, SequenceState, TokenizerSpec
from api.chat.spec import MAXIMUM_LENGTH, TOO_LONG
from api.chat.tools.calls import ArgumentsPiece, TextPiece
from api.errors import DarkroomError
from api.loading.device_memory import classify_error

FreeMemory = Callable[[Exception], bool]
"""Free memory after an out-of-memory error. False when nothing is left to free."""
NO_SCORES = "This model reads a prompt in one piece, and tells no log-probabilities of it: ask for logprobs without echo."


class DecodeBatch(Protocol):
    """The KV caches of all running sequences. `model` is passed to each call because it may be evicted and reloaded between calls."""

    def add(self, model: Any, inputs: Any, copies: int) -> torch.Tensor:
        """Prefill a whole prompt and append `copies` rows. Returns the logits of the first token: (vocabulary,) float32."""

    def step(self, model: Any, tokens: Sequence[int], free_memory: FreeMemory = ...) -> Sequence[torch.Tensor | None]:
        """Append one token to each row. Returns (vocabulary,) float32 logits for each row; None for a row that ran out of memory."""

    def select(self, rows: list[int]) -> None:
        """Keep these rows, by index in ascending order, and drop the others."""


class Prefill(Protocol):
    """A prompt that is prefilled in chunks. `cached`: prompt tokens taken from the prefix cache."""

    copies: int
    cached: int

    def run_chunk(self, model: Any) -> torch.Tensor | None:
        """Run the next chunk. The last one appends the rows to the batch and returns the logits; others return None."""


class Prefiller(Protocol):
    cache: PromptCache
    """The model's own while the model is pinned, an empty one otherwise."""

    def start(self, model: Any, prompt: Any, copies: int) -> Prefill | None:
        """None for a prompt that this model can only prefill whole (`DecodeBatch.add`)."""

    def save_prefix(self, row: int, prompt: Any, tokens: list[int]) -> None:
        """Store the KV cache of a row that is about to be dropped. `tokens`: the tokens generated in it."""


class ActiveChat:
    """One request with its sequences."""

    def __init__(self, callbacks: ChatCallbacks, answers: list[SequenceState], prompt: Any) -> None:
        self.callbacks, self.answers, self.prompt = callbacks, answers, prompt
        self.cached = 0
        self.ended = self.failed = False

    def add_token(self, answer: SequenceState, logits: torch.Tensor) -> None:
        try:
            pieces = answer.add_token(logits)
        except DarkroomError as error:
            return self.fail(error)
        except Exception as error:
            if classify_error(error) != "oom":
                raise
            return self.fail(ChatTooLarge())  # sampling is on the processor, and the others' logits are there
        self.send(answer, pieces)
        if not self.ended and all(answer.done for answer in self.answers):
            self.ended = True
            self.callbacks.on_end(ChatResult([answer.choice for answer in self.answers], self.prompt.length, self.cached))

    def send(self, answer: SequenceState, pieces: NewPieces) -> None:
        logprobs = pieces.logprobs
        for event in pieces.events:
            if isinstance(event, TextPiece):
                self.callbacks.on_text(answer.index, event.text, logprobs)
                logprobs = []
            else:
                text = event.text if isinstance(event, ArgumentsPiece) else ""
                self.callbacks.on_call(answer.index, event.number, answer.choice.calls[event.number].name, text)
        if logprobs:
            self.callbacks.on_text(answer.index, "", logprobs)

    def fail(self, error: DarkroomError) -> None:
        self.ended = self.failed = True
        self.callbacks.on_error(error)


class DecodeLoop:
    """All running requests of one model. Row i of the batch belongs to `rows[i]`. Without a `prefiller`, prompts are prefilled whole."""

    def __init__(self, batch: DecodeBatch, prefiller: Prefiller | None = None) -> None:
        self.batch, self.prefiller = batch, prefiller
        self.rows: list[tuple[ActiveChat, SequenceState]] = []
        self.prefilling: deque[tuple[ActiveChat, Prefill]] = deque()
        self.prefilled: list[tuple[ActiveChat, torch.Tensor]] = []

    @property
    def answers(self) -> int:
        """Sequences that are running or whose prompt is being prefilled."""
        return len(self.rows) + sum(prefill.copies for _, prefill in self.prefilling)

    def admit(
        self, model: Any, tokenizer_spec: TokenizerSpec, prompt: Any, request: ChatRequest, callbacks: ChatCallbacks
    ) -> None:
        """Add a request; its prompt is prefilled next. Raises DarkroomError (context_length_exceeded, unknown_token)."""
        check_biases(tokenizer_spec, request.sampling)
        limit = answer_token_limit(tokenizer_spec, prompt.length, request.sampling, "messages" if request.turns else "prompt")
        sampling = with_sampling_defaults(request.sampling, tokenizer_spec)
        prompt_token_ids = prompt.inputs["input_ids"].flatten().tolist() if sampling.repetition_penalty else ()
        answers = [
            SequenceState(tokenizer_spec, sampling, index, limit, prompt_token_ids, request.tool_use)
            for index in range(sampling.n)
        ]
        chat = ActiveChat(callbacks, answers, prompt)
        prefill = self.prefiller.start(model, prompt, sampling.n) if self.prefiller else None
        if prefill is not None:
            chat.cached = prefill.cached
            self.prefilling.appendleft((chat, prefill))
            return
        if request.scores is not None:
            raise DarkroomError("no_prompt_logprobs", 400, NO_SCORES, field="logprobs")
        self.prefilled.append((chat, self.batch.add(model, prompt.inputs, sampling.n)))
        self.start_answers()

    def prefill(self, model: Any) -> None:
        """Run one chunk of one prompt, round-robin. An exception concerns `prefilling[0]` only. Call `start_answers` next."""
        self.prefilling = deque(pair for pair in self.prefilling if not pair[0].callbacks.cancelled())
        if not self.prefilling:
            return
        chat, prefill = self.prefilling[0]
        logits = prefill.run_chunk(model)
        self.prefilling.popleft()
        if logits is None:
            self.prefilling.append((chat, prefill))
        else:
            self.prefilled.append((chat, logits))

    def start_answers(self) -> None:
        """Sample the first token of each request whose prompt is finished."""
        while self.prefilled:
            chat, logits = self.prefilled.pop(0)
            self.rows += [(chat, answer) for answer in chat.answers]
            for answer in chat.answers:
                chat.add_token(answer, logits)
        self.remove_finished()

    def fail_prefill(self, error: DarkroomError) -> None:
        """End the request whose chunk failed in `prefill`."""
        self.prefilling.popleft()[0].fail(error)

    def step(self, model: Any, free_memory: FreeMemory) -> None:
        """Sample one token for every sequence. A sequence that runs out of memory fails its own request only."""
        for chat in {id(chat): chat for chat, _ in self.rows}.values():
            chat.ended = chat.ended or chat.callbacks.cancelled()
        self.remove_finished()
        if not self.rows:
            return
        logits = self.batch.step(model, [answer.last for _, answer in self.rows], free_memory)
        for (chat, answer), row in zip(list(self.rows), logits, strict=True):
            if chat.ended:
                continue
            if row is None:
                chat.fail(ChatTooLarge())
            else:
                chat.add_token(answer, row)
        self.remove_finished()

    def remove_finished(self) -> None:
        """Drop the rows of finished, failed and cancelled sequences."""
        kept = [number for number, (chat, answer) in enumerate(self.rows) if not (answer.done or chat.ended)]
        if len(kept) < len(self.rows):
            self.save_prefixes(kept)
            self.batch.select(kept)
            self.rows = [self.rows[number] for number in kept]

    def save_prefixes(self, kept: list[int]) -> None:
        """Cache the first sequence of each request that is dropped without an error: a conversation continues with that one."""
        for number, (chat, answer) in enumerate(self.rows):
            if self.prefiller and number not in kept and answer.index == 0 and not chat.failed:
                self.prefiller.save_prefix(number, chat.prompt, answer.stream.tokens)


def check_biases(tokenizer_spec: TokenizerSpec, sampling: Sampling) -> None:
    for token in sampling.logit_bias:
        if int(token) >= tokenizer_spec.vocabulary:
            detail = f"logit_bias: There is no token {token}; this model's are 0 to {tokenizer_spec.vocabulary - 1}."
            raise DarkroomError("unknown_token", 400, detail, field="logit_bias")


def answer_token_limit(tokenizer_spec: TokenizerSpec, length: int, sampling: Sampling, asked: str = "messages") -> int:
    """The most tokens that an answer may have. Raises DarkroomError (context_length_exceeded)."""
    max_tokens = sampling.max_tokens
    if length + (max_tokens or 1) > tokenizer_spec.context_length:
        wanted = f"{length} of the {asked}" + (f" and {max_tokens} of the answer" if max_tokens else "")
        detail = (
            f"{MAXIMUM_LENGTH} {tokenizer_spec.context_length} tokens. However, this request needs "
            f"{length + (max_tokens or 1)}: {wanted}. {TOO_LONG}."
        )
        raise DarkroomError(
            "context_length_exceeded",
            400,
            detail,
            field=asked if length >= tokenizer_spec.context_length else "max_tokens",
        )
    return max_tokens or min(sampling.default_max_tokens, tokenizer_spec.context_length - length)


def with_sampling_defaults(sampling: Sampling, tokenizer_spec: TokenizerSpec) -> Sampling:
    """A request that sets a temperature gets none of the model's top_p and top_k: they were tuned for the model's own temperature."""
    if sampling.temperature is not None:
        return sampling
    return replace(
        sampling,
        temperature=tokenizer_spec.sampling_defaults["temperature"],
        top_p=tokenizer_spec.sampling_defaults["top_p"] if sampling.top_p is None else sampling.top_p,
        top_k=tokenizer_spec.sampling_defaults["top_k"] if sampling.top_k is None else sampling.top_k,
    )
