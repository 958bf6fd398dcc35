"""The one decode loop: from logits to answers. A backend brings the logits; what is drawn from them is decided here alone.

Chats come and go between two tokens: `admit` takes a chat in, `read` reads a piece of a prompt and with the last one writes its first
token, `step` writes one more token of every answer. A chat that is cancelled leaves at its next piece or token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer

from api.chat.backends.prefix_cache import Memory
from api.chat.backends.request import Choice, Listener, Reply, Sampling
from api.chat.backends.sampling import Grammar, Picked, Sampler, token_table
from api.chat.backends.stopping import TextStream
from api.errors import DarkroomError

Free = Callable[[Exception], bool]
"""Makes room after a shortage of memory. False where nothing is left to do."""
TOO_LARGE = "Memory ran out while the answer was written: ask for fewer choices, or shorten the messages."


class Batch(Protocol):
    """What a backend has to do. `model` is passed in each time: it may have been evicted and loaded anew since."""

    def add(self, model: Any, inputs: Any, copies: int) -> torch.Tensor:
        """Read a prompt, and make `copies` rows of it behind all others. The logits of the first token: (vocabulary,) float32."""

    def step(self, model: Any, tokens: Sequence[int], free: Free = ...) -> Sequence[torch.Tensor | None]:
        """One token for each row: (vocabulary,) float32, or None where its memory doesn't suffice."""

    def keep(self, rows: list[int]) -> None:
        """Forget the rows that aren't named."""


class Reading(Protocol):
    """A prompt that is read in pieces."""

    copies: int
    cached: int

    def go_on(self, model: Any) -> torch.Tensor | None:
        """Read the next piece. After the last the prompt's rows are in the batch, behind all others: the logits as of `Batch.add`."""


class Reader(Protocol):
    memory: Memory
    """Set while the model is pinned."""

    def begin(self, model: Any, prompt: Any, copies: int) -> Reading | None:
        """None for a prompt that this model has to read whole (`Batch.add`)."""

    def remember(self, row: int, prompt: Any, tokens: list[int]) -> None:
        """A row that the batch is about to forget, and what was written in it."""


@dataclass(frozen=True)
class Voice:
    """What the loop must know of a model to turn its logits into text."""

    tokenizer: Tokenizer
    ends: frozenset[int]
    """Tokens that end an answer."""
    banned: tuple[int, ...]
    """Tokens that stand for something other than text, such as pictures."""
    context: int
    defaults: dict[str, Any]
    """temperature, top_p and top_k where a request names none."""
    grammar: Callable[[dict[str, Any]], Grammar]


class Answer:
    """One choice of a chat, while it is written."""

    def __init__(self, voice: Voice, sampling: Sampling, index: int, limit: int, asked: Sequence[int] = ()) -> None:
        grammar = voice.grammar(sampling.schema) if sampling.schema is not None else None
        self.voice, self.sampling, self.index, self.limit, self.grammar = voice, sampling, index, limit, grammar
        options: dict[str, Any] = {"grammar": grammar, "banned": voice.banned, "ends": voice.ends, "asked": asked}
        self.sampler = Sampler(sampling, sampling.seed + index, **options)
        self.stream = TextStream(voice.tokenizer, sampling.stop)
        self.choice = Choice()
        self.last = -1
        self.pending: list[dict[str, Any]] = []  # logprobs of tokens whose text is held back

    @property
    def done(self) -> bool:
        return bool(self.choice.finish_reason)

    def take(self, logits: torch.Tensor) -> tuple[str, list[dict[str, Any]]]:
        """Write one token. The text that can be told now, with the log-probabilities of its tokens."""
        picked = self.sampler.pick(logits)
        self.last = picked.token
        self.choice.completion_tokens += 1
        if picked.token in self.voice.ends:
            return self.end("stop", "")
        said = self.stream.push(picked.token)
        self.note(picked)
        if self.stream.stopped or (self.grammar is not None and self.grammar.complete):
            return self.end("stop", said)
        if self.choice.completion_tokens >= self.limit:
            return self.end("length", said)
        return self.tell(said, self.release(said, whole=not self.stream.filter.held))

    def end(self, reason: str, said: str) -> tuple[str, list[dict[str, Any]]]:
        self.choice.finish_reason = reason
        said += self.stream.flush()
        return self.tell(said, self.release(said, whole=not self.stream.stopped))

    def tell(self, said: str, logprobs: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
        self.choice.text += said
        self.choice.logprobs += logprobs
        return said, logprobs

    def note(self, picked: Picked) -> None:
        if self.sampling.logprobs:
            self.pending.append(token_table(self.voice.tokenizer, picked))

    def release(self, said: str, *, whole: bool) -> list[dict[str, Any]]:
        """The log-probabilities of what is said now; of what is held back they wait, and of a stop string they go."""
        count, length = 0, 0
        while count < len(self.pending) and (whole or length + len(self.pending[count]["token"]) <= len(said)):
            length += len(self.pending[count]["token"])
            count += 1
        told, self.pending = self.pending[:count], self.pending[count:]
        return told


class Chat:
    """One request, with its answers."""

    def __init__(self, listener: Listener, answers: list[Answer], prompt: Any) -> None:
        self.listener, self.answers, self.prompt = listener, answers, prompt
        self.cached = 0
        self.ended = self.failed = False

    def take(self, answer: Answer, logits: torch.Tensor) -> None:
        try:
            said, logprobs = answer.take(logits)
        except DarkroomError as error:
            return self.fail(error)
        if said or logprobs:
            self.listener.on_text(answer.index, said, logprobs)
        if not self.ended and all(answer.done for answer in self.answers):
            self.ended = True
            self.listener.on_end(Reply([answer.choice for answer in self.answers], self.prompt.length, self.cached))

    def fail(self, error: DarkroomError) -> None:
        self.ended = self.failed = True
        self.listener.on_error(error)


class Engine:
    """The chats of one model that are under way; row i of the batch is the i-th of `rows`. Without a `reader` prompts are read whole."""

    def __init__(self, batch: Batch, reader: Reader | None = None) -> None:
        self.batch, self.reader = batch, reader
        self.rows: list[tuple[Chat, Answer]] = []
        self.reading: deque[tuple[Chat, Reading]] = deque()
        self.read_whole: list[tuple[Chat, torch.Tensor]] = []

    @property
    def answers(self) -> int:
        """Those that are written, or will be once their prompt is read."""
        return len(self.rows) + sum(reading.copies for _, reading in self.reading)

    def admit(self, model: Any, voice: Voice, prompt: Any, sampling: Sampling, listener: Listener) -> None:
        """Take a chat in; its prompt is next to be read. Raises DarkroomError for one that doesn't fit the context."""
        limit = room_for(voice, prompt.length, sampling)
        sampling = with_defaults(sampling, voice)
        asked = prompt.inputs["input_ids"].flatten().tolist() if sampling.repetition_penalty else ()
        answers = [Answer(voice, sampling, index, limit, asked) for index in range(sampling.n)]
        chat = Chat(listener, answers, prompt)
        reading = self.reader.begin(model, prompt, sampling.n) if self.reader else None
        if reading is not None:
            chat.cached = reading.cached
            self.reading.appendleft((chat, reading))
            return
        self.read_whole.append((chat, self.batch.add(model, prompt.inputs, sampling.n)))
        self.begin_answers()

    def read(self, model: Any) -> None:
        """A piece of one prompt: those that are being read take turns. What this raises is about the first of `reading` alone.

        `begin_answers` has to be called next.
        """
        self.reading = deque(pair for pair in self.reading if not pair[0].listener.cancelled())
        if not self.reading:
            return
        chat, reading = self.reading[0]
        logits = reading.go_on(model)
        self.reading.popleft()
        if logits is None:
            self.reading.append((chat, reading))
        else:
            self.read_whole.append((chat, logits))

    def begin_answers(self) -> None:
        """The first token of those whose prompt is read."""
        while self.read_whole:
            chat, logits = self.read_whole.pop(0)
            self.rows += [(chat, answer) for answer in chat.answers]
            for answer in chat.answers:
                chat.take(answer, logits)
        self.settle()

    def give_up(self, error: DarkroomError) -> None:
        """The prompt that `read` stumbled over."""
        self.reading.popleft()[0].fail(error)

    def step(self, model: Any, free: Free) -> None:
        """One more token of every answer. A chat that memory doesn't suffice for fails alone."""
        for chat in {id(chat): chat for chat, _ in self.rows}.values():
            chat.ended = chat.ended or chat.listener.cancelled()
        self.settle()
        if not self.rows:
            return
        logits = self.batch.step(model, [answer.last for _, answer in self.rows], free)
        for (chat, answer), row in zip(list(self.rows), logits, strict=True):
            if chat.ended:
                continue
            if row is None:
                chat.fail(DarkroomError("out_of_memory", 507, TOO_LARGE))
            else:
                chat.take(answer, row)
        self.settle()

    def settle(self) -> None:
        """Let go of the rows that are done."""
        kept = [number for number, (chat, answer) in enumerate(self.rows) if not (answer.done or chat.ended)]
        if len(kept) < len(self.rows):
            self.remember(kept)
            self.batch.keep(kept)
            self.rows = [self.rows[number] for number in kept]

    def remember(self, kept: list[int]) -> None:
        """Of several answers the first is what goes on. Of a chat that failed nothing is left."""
        for number, (chat, answer) in enumerate(self.rows):
            if self.reader and number not in kept and answer.index == 0 and not chat.failed:
                self.reader.remember(number, chat.prompt, answer.stream.tokens)


def room_for(voice: Voice, length: int, sampling: Sampling) -> int:
    """Tokens that an answer may have. Raises DarkroomError (context_length_exceeded) with both numbers."""
    asked = sampling.max_tokens
    if length + (asked or 1) > voice.context:
        wanted = f"{length} of the messages" + (f" and {asked} of the answer" if asked else "")
        detail = (  # the first words are OpenAI's: LiteLLM and LangChain look for them
            f"This model's maximum context length is {voice.context} tokens. However, this request needs {length + (asked or 1)}: {wanted}."
        )
        raise DarkroomError(
            "context_length_exceeded", 400, detail, field="messages" if length >= voice.context else "max_tokens"
        )
    return asked or min(sampling.default_max_tokens, voice.context - length)


def with_defaults(sampling: Sampling, voice: Voice) -> Sampling:
    """A request that names a temperature gets no top_p and top_k of the model's, which belong to another one."""
    if sampling.temperature is not None:
        return sampling
    return replace(
        sampling,
        temperature=voice.defaults["temperature"],
        top_p=voice.defaults["top_p"] if sampling.top_p is None else sampling.top_p,
        top_k=voice.defaults["top_k"] if sampling.top_k is None else sampling.top_k,
    )
