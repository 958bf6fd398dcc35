"""What becomes of pictures between the backend that makes them and the disk: scored, and with `best_of` chosen. No torch.

See `api.images.backends.request.Collector`. `CollectAll` keeps all and scores them in one pass at the end. `BestOfN` scores candidates in
a thread while the next ones are made, and holds no more of them than may still be chosen.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from api.images.hooks import RunHooks
from api.images.judges import Unavailable
from api.images.ranking import Candidate, RankBy, rank, still_eligible, summarize, weights_of
from api.json_types import JsonObject
from api.runtime.judge_registry import Judge, Scores

MAX_UNSCORED = 8
"""Candidates that may wait for their scores; then the making waits for the judging."""


@dataclass(frozen=True)
class GeneratedPicture:
    """A picture that is kept. `rank` counts from 1; None where nothing was ranked."""

    picture: Image.Image
    seed: int
    scores: Scores = field(default_factory=dict)
    rank: int | None = None


@dataclass(frozen=True)
class SelectedPictures:
    """What is kept of one request, in the order in which it is told; with `best_of` all candidates beside it, as JSON."""

    kept: list[GeneratedPicture]
    spares: list[GeneratedPicture] = field(default_factory=list)
    """Candidates that come next, the best first, where one of these may be withheld."""
    candidates: list[JsonObject] = field(default_factory=list)
    ranking: JsonObject | None = None
    check: JsonObject | None = None
    """How the pictures were checked, and which were withheld; None where they were not."""


class OutputSink(Protocol):
    """A collector that can be asked what to keep, once its pictures are made and the model that made them is let go."""

    def take(self, index: int, number: int, picture: Image.Image) -> None: ...

    def close(self) -> None: ...

    def choose(self, index: int) -> SelectedPictures:
        """Of those that were made: all, unless the request was stopped."""

    def __enter__(self) -> OutputSink: ...

    def __exit__(self, *error: object) -> None: ...


class CollectAll:
    """All pictures of a batch of requests. `prompts` and `seeds` are the requests'."""

    def __init__(
        self, judges: Sequence[Judge], prompts: Sequence[str], seeds: Sequence[Sequence[int]], hooks: RunHooks
    ) -> None:
        self._judges, self._prompts, self._seeds, self._hooks = judges, prompts, seeds, hooks
        self._pictures: dict[tuple[int, int], Image.Image] = {}
        self._scores: dict[tuple[int, int], Scores] = {}

    def __enter__(self) -> CollectAll:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def take(self, index: int, number: int, picture: Image.Image) -> None:
        self._pictures[index, number] = picture

    def close(self) -> None:
        keys = list(self._pictures)
        for judge in self._judges if keys else ():
            try:
                load(judge, self._hooks)
                with self._hooks.measure("score"):
                    found = judge.score([self._pictures[key] for key in keys], [self._prompts[index] for index, _ in keys])
            except Unavailable as error:
                self._hooks.warn(f"The pictures have no {judge.criterion} score: {error.detail}")
                continue
            for key, scores in zip(keys, found, strict=True):
                self._scores.setdefault(key, {}).update(scores)

    def choose(self, index: int) -> SelectedPictures:
        keys = [key for number in range(len(self._seeds[index])) if (key := (index, number)) in self._pictures]
        return SelectedPictures(
            [GeneratedPicture(self._pictures[key], self._seeds[index][key[1]], self._scores.get(key, {})) for key in keys]
        )


class BestOfN:
    """Best of K for one request: `places` pictures are kept, and `spares` held beside them. A context manager, which ends its thread.

    A judge whose model has no place beside the one that makes the pictures judges at the end, when that may be evicted: until
    then nothing is dropped that it has a say in.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        prompt: str,
        seeds: Sequence[int],
        rank_by: RankBy,
        places: int,
        hooks: RunHooks,
        spares: int = 0,
    ) -> None:
        self._held_places = places + spares
        self._prompt, self._seeds, self._rank_by, self._places, self._hooks = prompt, seeds, rank_by, places, hooks
        self._judges = {judge.criterion: judge for judge in judges}
        self._postponed: list[str] = []
        self._is_loaded = False
        self._lock = threading.Lock()  # of _waiting
        self._waiting: list[int] = []
        self._held: dict[int, Image.Image] = {}  # by seed: what waits, and what may still be chosen
        self._scores: dict[int, Scores] = {}
        self._seconds = 0.0
        self._thread = ThreadPoolExecutor(1, "judges")
        self._futures: deque[Future[None]] = deque()

    def __enter__(self) -> BestOfN:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    # -- While pictures are made ---------------------------------------------------------------------------------------------

    def take(self, index: int, number: int, picture: Image.Image) -> None:
        self._load()
        while len(self._futures) >= MAX_UNSCORED:
            self._futures.popleft().result()
        with self._lock:
            self._held[self._seeds[number]] = picture
            self._waiting.append(self._seeds[number])
        self._futures.append(self._thread.submit(self._score_unscored))

    def close(self) -> None:
        while self._futures:
            self._futures.popleft().result()

    def _load(self) -> None:
        """Once, by the thread that runs models: building a model in another one could disturb what it computes."""
        if self._is_loaded:
            return
        self._is_loaded = True
        for judge in list(self._judges.values()):
            try:
                load(judge, self._hooks)
            except Unavailable as error:
                self._postpone_or_drop(judge, error)

    def _score_unscored(self) -> None:
        """All that wait, in one pass; whoever comes first does the work of those behind."""
        with self._lock:
            seeds, self._waiting = self._waiting, []
        started = time.monotonic()
        for judge in [judge for name, judge in self._judges.items() if name not in self._postponed]:
            self._score_with(judge, seeds)
        self._drop_eliminated(seeds)
        self._seconds += time.monotonic() - started

    def _score_with(self, judge: Judge, seeds: Sequence[int]) -> None:
        if not seeds:
            return
        try:
            found = judge.score([self._held[seed] for seed in seeds], [self._prompt] * len(seeds))
        except Unavailable as error:
            self._postpone_or_drop(judge, error)
            return
        for seed, scores in zip(seeds, found, strict=True):
            self._scores.setdefault(seed, {}).update(scores)

    def _postpone_or_drop(self, judge: Judge, error: Unavailable) -> None:
        """Postponed where its model may find a place later and its judgement decides; else missed, and said so."""
        if error.passing and judge.criterion in weights_of(self._rank_by) and judge.criterion not in self._postponed:
            self._postponed.append(judge.criterion)
            return
        self._judges.pop(judge.criterion, None)
        self._hooks.warn(f"The candidates have no {judge.criterion} score, or not all of them: {error.detail}")

    def _drop_eliminated(self, seeds: Sequence[int]) -> None:
        for seed in seeds:
            self._scores.setdefault(seed, {})
        if self._postponed:
            return
        with self._lock:
            judged = [seed for seed in self._held if seed in self._scores]
            kept = still_eligible([Candidate(seed, self._scores[seed]) for seed in judged], self._rank_by, self._held_places)
            for seed in set(judged) - kept:
                del self._held[seed]

    # -- When all are made ---------------------------------------------------------------------------------------------------

    def choose(self, index: int) -> SelectedPictures:
        self._score_postponed()
        self._hooks.add_time("score", self._seconds)
        places = rank([Candidate(seed, scores) for seed, scores in self._scores.items()], self._rank_by)
        if unranked := sum(place.score is None for place in places):
            self._hooks.warn(f"{unranked} of {len(places)} candidates could not be ranked.")
        chosen = [place for place in places if place.candidate.seed in self._held][: self._held_places]
        held = [
            GeneratedPicture(self._held[place.candidate.seed], place.candidate.seed, dict(place.candidate.scores), place.rank)
            for place in chosen
        ]
        kept, spares = held[: self._places], held[self._places :]
        return SelectedPictures(kept, spares, [place.as_json() for place in places], summarize(places, self._rank_by))

    def _score_postponed(self) -> None:
        for name in list(self._postponed):
            judge = self._judges[name]
            started = time.monotonic()
            seeds = [seed for seed in self._seeds if seed in self._held]
            try:
                load(judge, self._hooks)
            except Unavailable as error:
                self._postpone_or_drop(judge, error)
            else:
                self._score_with(judge, seeds)
            self._seconds += time.monotonic() - started


def load(judge: Judge, hooks: RunHooks) -> None:
    with hooks.measure("load"):
        judge.load(hooks.on_load)
