"""The judges of a request's pictures (api/runtime/judge_registry.py), as the making of pictures uses them.

A judge's model never costs a picture: what can't be loaded or fails is a warning on the job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from django.conf import settings
from PIL import Image

from api.errors import DarkroomError, DeviceFault
from api.images.prompt_syntax.syntaxes import COMPEL
from api.runtime.judge_models import MODEL_SETTINGS
from api.runtime.judge_registry import FIGURES, Judge, Progress, Scores, UnknownJudge, Warn, kind_of

NO_SYNTAXES: Mapping[str, str] = {}
log = logging.getLogger("darkroom.worker")


class Unavailable(Exception):
    """A judge can't judge now, in words for a job. `passing`: its model has no place beside what is in memory."""

    def __init__(self, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail)
        self.detail, self.passing = detail, passing


class GuardedJudge:
    """A registered judge: whatever goes wrong is Unavailable, and it reads prompts without the marks of weights."""

    reads_prompts = True

    def __init__(
        self,
        criterion: str,
        warn: Warn,
        make: Callable[[Warn], Judge] | None = None,
        syntaxes: Mapping[str, str] = NO_SYNTAXES,
    ) -> None:
        """`syntaxes`: what each prompt is written in, where that isn't Compel's syntax."""
        self.criterion, self._warn, self._syntaxes = criterion, warn, syntaxes
        self._prompts: dict[str, set[str]] = {}
        """The prompts that have the same words, by those words."""
        self._make = make or (lambda warn: kind_of(criterion).make(criterion, warn))
        self._judge: Judge | None = None

    def load(self, on_progress: Progress) -> None:
        """For the thread that runs models alone. Raises Unavailable."""
        with as_unavailable():
            self._judge = self._judge or self._make(self._warn_of_words)
            self._judge.load(on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        """The i-th picture, made for the i-th prompt. Raises Unavailable, also where its model has left memory."""
        assert self._judge is not None, "load() comes first"
        with as_unavailable():
            words = self._words_of(prompts) if self._judge.reads_prompts else prompts
            return self._judge.score(pictures, words)

    def _words_of(self, prompts: Sequence[str]) -> list[str]:
        from api.images.backends.prompts import words_of

        words = [words_of(prompt, self._syntaxes.get(prompt, COMPEL)) for prompt in prompts]
        for prompt, text in zip(prompts, words, strict=True):
            self._prompts.setdefault(text, set()).add(prompt)
        return words

    def _warn_of_words(self, words: str, text: str) -> None:
        for prompt in self._prompts.get(words, {words}):
            self._warn(prompt, text)


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Whatever goes wrong with a judge's model; but a DeviceFault ends the process."""
    from api.model_loader import OutOfMemory

    try:
        yield
    except DeviceFault:
        raise
    except DarkroomError as error:
        raise Unavailable(error.detail, passing=isinstance(error, OutOfMemory) or error.code == "not_loaded") from error
    except UnknownJudge as error:
        raise Unavailable(str(error)) from error
    except Exception as error:
        log.exception("A picture could not be scored")
        raise Unavailable("The scorer failed; the log has more.") from error


def make_judges(criteria: Sequence[str], warn: Warn, syntaxes: Mapping[str, str] = NO_SYNTAXES) -> list[GuardedJudge]:
    """Those of `criteria` that this worker can do."""
    can = {name for name in FIGURES if settings.LOAD_MODELS or name == "layout"}
    return [
        GuardedJudge(name, warn, syntaxes=syntaxes) for name in dict.fromkeys(criteria) if name in can or name not in FIGURES
    ]


def say_nothing(prompt: str, text: str) -> None:
    """What can be said of a score that decides nothing is no warning on the job."""


def independent_criteria(criteria: Collection[str]) -> list[str]:
    """What else scores the candidates that these criteria choose from.

    `objects` does always, and `aesthetic` where `clip` alone decides: a choice measured by the figure that made it looks better than
    it is. None whose model would have to be fetched first.
    """
    others = ["aesthetic", "objects"] if list(criteria) == ["clip"] else ["objects"]
    return [name for name in others if name not in criteria and is_at_hand(name)]


def is_at_hand(criterion: str) -> bool:
    """Whether its model can judge here, and its files are on this disk."""
    if kind_of(criterion).missing():
        return False
    from api.model_loader import get_loader

    loader = get_loader()
    entries = loader.catalog.with_base(loader.catalog.get(getattr(settings, MODEL_SETTINGS[criterion])))
    return all(loader.store.available(entry) for entry in entries)
