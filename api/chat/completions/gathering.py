"""A completion in the worker: each of its prompts is a request of its own to the backend, and the job ends with the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any, Protocol

from api.chat.backends.request import ChatCallbacks, ChatRequest, ChatResult, Completion, PromptScores
from api.chat.completions.spec import CompletionSpec
from api.chat.requests import sampling_of
from api.errors import DarkroomError

Entry = dict[str, Any]
"""Of a token, as in chats' `logprobs.content`, with its `offset` in the text."""


class Callbacks(ChatCallbacks, Protocol):
    """What a session calls besides."""

    def begin(self) -> None: ...

    def on_loading(self, fraction: float, text: str) -> None: ...


class Gathering:
    """What is known of a job's prompts."""

    def __init__(self, spec: CompletionSpec, callbacks: Callbacks) -> None:
        self.spec, self.callbacks = spec, callbacks
        self.results: dict[int, ChatResult] = {}
        self.failed = False

    def add(self, place: int, result: ChatResult) -> None:
        self.results[place] = result
        if len(self.results) == len(self.spec.raw_prompts):
            self.callbacks.on_end(merge([self.results[place] for place in sorted(self.results)]))

    def fail(self, error: DarkroomError) -> None:
        if not self.failed:
            self.failed = True
            self.callbacks.on_error(error)


class PromptCallbacks:
    """Of one prompt. Its choices are told by their place among those of all prompts."""

    def __init__(self, gathering: Gathering, place: int, request: ChatRequest) -> None:
        self.gathering, self.place, self.request = gathering, place, request
        self.spec = gathering.spec
        self.begun: set[int] = set()

    def begin(self) -> None:
        self.gathering.callbacks.begin()

    def on_loading(self, fraction: float, text: str) -> None:
        self.gathering.callbacks.on_loading(fraction, text)

    def cancelled(self) -> bool:
        return self.gathering.failed or self.gathering.callbacks.cancelled()

    def on_text(self, index: int, text: str, logprobs: list[Entry]) -> None:
        """Of several candidates nobody knows yet which will be told."""
        if self.spec.candidates > self.spec.choices_of_each:
            return
        if index not in self.begun:
            self.begun.add(index)
            self.tell(index, self.echo, self.echoed_logprobs)
        if self.spec.max_tokens:
            self.tell(index, text, self.moved(logprobs))

    def tell(self, index: int, text: str, logprobs: list[Entry]) -> None:
        if text or logprobs:
            self.gathering.callbacks.on_text(self.place * self.spec.choices_of_each + index, text, logprobs)

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        raise AssertionError("A raw prompt has no tools.")

    def on_end(self, result: ChatResult) -> None:
        choices = result.choices
        if self.spec.candidates > self.spec.choices_of_each:
            choices = sorted(choices, key=likelihood, reverse=True)
        kept, dropped = choices[: self.spec.choices_of_each], choices[self.spec.choices_of_each :]
        tokens = sum(choice.completion_tokens for choice in dropped)
        self.gathering.add(self.place, replace(result, choices=[self.shown(choice) for choice in kept], dropped_tokens=tokens))

    def on_error(self, error: DarkroomError) -> None:
        self.gathering.fail(error)

    @property
    def echo(self) -> str:
        return self.spec.raw_prompts[self.place].text if self.spec.echo else ""

    @property
    def echoed_logprobs(self) -> list[Entry]:
        return self.request.scores.in_order if self.request.scores else []

    def shown(self, choice: Completion) -> Completion:
        """As the client is told of it. Where it wanted no token, one was written, since a model can't but write."""
        if not self.spec.max_tokens:
            choice = Completion(finish_reason="length")
        return replace(choice, text=self.echo + choice.text, logprobs=[*self.echoed_logprobs, *self.moved(choice.logprobs)])

    def moved(self, logprobs: list[Entry]) -> list[Entry]:
        """Behind the echo; none where the client wants none, and they were for the choice of the best alone."""
        if self.spec.logprobs is None:
            return []
        return [{**entry, "offset": len(self.echo) + entry["offset"]} for entry in logprobs]


def likelihood(choice: Completion) -> float:
    """The mean log-probability of its tokens."""
    known: list[Any] = [entry["logprob"] for entry in choice.logprobs if entry["logprob"] is not None]
    return fmean(known) if known else float("-inf")


def merge(results: list[ChatResult]) -> ChatResult:
    return ChatResult(
        choices=[choice for result in results for choice in result.choices],
        prompt_tokens=sum(result.prompt_tokens for result in results),
        cached_tokens=sum(result.cached_tokens for result in results),
        dropped_tokens=sum(result.dropped_tokens for result in results),
        model=results[0].model,
    )


def ask_each_prompt(spec: CompletionSpec, owner_key: str, callbacks: Callbacks) -> Iterator[PromptCallbacks]:
    gathering = Gathering(spec, callbacks)
    for place, prompt in enumerate(spec.raw_prompts):
        scores = PromptScores(spec.logprobs or 0) if spec.echo and spec.logprobs is not None else None
        sampling = sampling_of(
            spec,
            n=spec.candidates,
            seed=spec.seed + place * spec.candidates,
            max_tokens=spec.max_tokens or 1,
            logprobs=spec.logprobs is not None or spec.candidates > spec.choices_of_each,
            top_logprobs=spec.logprobs or 0,
            text_offsets=True,
        )
        text = prompt.text if prompt.tokens is None else prompt.tokens
        request = ChatRequest(model_id=spec.model, prompt=text, scores=scores, sampling=sampling, owner=owner_key)
        yield PromptCallbacks(gathering, place, request)
