"""Which languages can be read, and by which engine: by the letters that an engine can write, never by its name. No Django, no torch.

languages.json: a language's letters are the main exemplar characters of Unicode's CLDR 48.2 (Unicode License v3), in lower case where
its script has that; Korean has the 2,350 syllables of KS X 1001. `tesseract` is the name of its traineddata. Languages that are
written from right to left are not in it: nothing here puts their lines in order.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from api.errors import DarkroomError

TABLE = Path(__file__).with_name("languages.json")
PP_OCR, TESSERACT = "pp-ocr", "tesseract"
LEAST_SHARE = 0.85
"""An engine that lacks more of a language's letters than this leaves can't write it."""

Letters = frozenset[str]
LettersOf = Callable[[str], Letters]
"""What Tesseract can write with the traineddata of this name; nothing where that is not installed."""


@dataclass(frozen=True)
class Language:
    code: str
    name: str
    tesseract: str
    letters: Letters
    """In both cases."""

    @property
    def packages(self) -> str:
        """Debian's, for Tesseract."""
        return f"tesseract-ocr-{self.tesseract.replace('_', '-')}"

    def missing(self, writable: Letters) -> list[str]:
        return sorted(self.letters - writable)

    def is_writable(self, writable: Letters) -> bool:
        return len(self.letters & writable) >= LEAST_SHARE * len(self.letters)


@dataclass(frozen=True)
class Engine:
    """What reads the lines of a request."""

    name: str
    missing: tuple[str, ...]
    """Letters of the languages that it can't write."""


class UnknownLanguage(DarkroomError):
    def __init__(self, code: str) -> None:
        near = difflib.get_close_matches(code.casefold()[:40], languages(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? Known:" if near else "known are"
        detail = f"There is no language '{code[:40]}' here; {hint} {', '.join(languages())}."
        super().__init__("unknown_language", 400, detail, field="languages")


class UnreadableLanguage(DarkroomError):
    """The languages are known, and no engine that is installed can write them. `absent`: those that Tesseract has no data of."""

    def __init__(self, wanted: Sequence[Language], absent: Sequence[Language]) -> None:
        names = " and ".join(language.name for language in wanted)
        remedy = f"`{install_line(absent)}` adds them." if absent else "Tesseract's data of it lacks too many of them."
        detail = f"{names} can't be read here: no engine that is installed has the letters. {remedy}"
        super().__init__("language_not_installed", 400, detail, field="languages")


@cache
def languages() -> dict[str, Language]:
    """By code."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return {code: Language(code, one["name"], one["tesseract"], in_both_cases(one["letters"])) for code, one in table.items()}


def in_both_cases(letters: str) -> Letters:
    upper = (unicodedata.normalize("NFC", letter.upper()) for letter in letters)
    return frozenset(letters) | {letter for letter in upper if len(letter) == 1}


def find_language(code: str) -> Language:
    """By its code, in any case; a region is left out (vi-VN). Raises UnknownLanguage."""
    by_folded = {known.casefold(): language for known, language in languages().items()}
    folded = code.casefold().replace("_", "-")
    language = by_folded.get(folded) or by_folded.get(folded.partition("-")[0])
    if language is None:
        raise UnknownLanguage(code)
    return language


def choose_engine(wanted: Sequence[Language], pp_ocr: Letters, tesseract: LettersOf) -> Engine:
    """Of the engines that can write all of them the one that lacks the fewest letters, PP-OCR on a tie. Raises UnreadableLanguage."""
    found = [
        engine for engine in (engine_of(PP_OCR, wanted, lambda _: pp_ocr), engine_of(TESSERACT, wanted, tesseract)) if engine
    ]
    if not found:
        raise UnreadableLanguage(wanted, [language for language in wanted if not tesseract(language.tesseract)])
    return min(found, key=lambda engine: len(engine.missing))


def engine_of(name: str, wanted: Sequence[Language], letters_of: LettersOf) -> Engine | None:
    writable = {language: letters_of(language.tesseract) for language in wanted}
    if not all(language.is_writable(letters) for language, letters in writable.items()):
        return None
    return Engine(name, tuple(letter for language, letters in writable.items() for letter in language.missing(letters)))


def install_line(wanted: Sequence[Language]) -> str:
    return " ".join(["apt-get install tesseract-ocr", *(language.packages for language in wanted)])
