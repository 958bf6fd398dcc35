"""Whether a text has what a rule names: words, or a regular expression with a limit of time. No Django.

An owner's expressions are run by the module `regex`, which can be stopped, as Python's `re` can't: `(a+)+$` takes longer than anybody
waits. Words need no limit: what is made of them repeats nothing within a repetition, and takes time in proportion to the text.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import regex

LONGEST_EXPRESSION = 20_000
LONGEST_MATCH = 200
SECONDS, SECONDS_PER_CHARACTER = 0.1, 1e-6
"""That one expression may take for one request."""
TRIAL_SECONDS = 0.05
REPEATED = ("a", "a ", "ab", "1", " ", "-", "a1 ", ",")
TRIAL_TEXTS = tuple(part * 500 + ending for part in REPEATED for ending in ("", "!"))
"""An expression that takes too long for one of these is refused when it is written."""
TOO_SLOW = "(it took too long to read)"
BRACKETS = str.maketrans("", "", "()[]{}\\")
"""Of the notations of weights: `na(ke)d` is read as one word, too."""
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""A letter of a script without spaces between words: there a word is found inside of others."""
IGNORED = regex.compile(r"(?!\s)[\p{C}\p{Default_Ignorable_Code_Point}\uFFFD]")
"""What is not seen: controls, zero-width characters, selectors of variations, fillers, private and unassigned code points."""
MARKS = regex.compile(r"[\u0300-\u036F\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE20-\uFE2F]")
"""Diacritics for any letter. Where a letter with one is a letter of its own, NFKC has composed it."""
CYRILLIC, LATIN = "аеорсухіјѕһԁԛԝ", "aeopcyxijshdqw"
"""Letters that look the same, in the same order."""
TO_LATIN = str.maketrans(CYRILLIC + "αοιυνɡ", LATIN + "aoiuvg")
TO_CYRILLIC = str.maketrans(LATIN, CYRILLIC)
LATIN_LETTER = re.compile("[a-z]")
OWN_CYRILLIC = regex.compile(rf"(?![{CYRILLIC}])\p{{Cyrillic}}")
WORD = re.compile(r"\w+")


class Syntax(StrEnum):
    WORDS = "words"
    PATTERN = "pattern"


class InvalidExpression(ValueError):
    """The message is for the person who wrote it."""


@dataclass(frozen=True)
class Matcher:
    """One rule's expression, ready to be used by any thread."""

    search: Callable[[str, float], Any]
    """In a text, for so many seconds. Raises TimeoutError."""

    def find(self, texts: Sequence[str]) -> str | None:
        """The first part of the texts (of `readings`) that matches. Where it takes too long, that counts as a match: a prompt must not
        pass by being slow to read.
        """
        end = time.monotonic() + SECONDS + SECONDS_PER_CHARACTER * sum(map(len, texts))
        try:
            for text in texts:
                if found := self.search(text, max(end - time.monotonic(), 0.001)):
                    return str(found[0])[:LONGEST_MATCH]
        except TimeoutError:
            return TOO_SLOW
        return None


def check_expression(syntax: str, expression: str) -> None:
    """Raises InvalidExpression, also for a regular expression that may take too long."""
    compile_rule(syntax, expression)
    if syntax == Syntax.PATTERN:
        try_pattern(compile_pattern(expression))


@lru_cache(maxsize=1000)
def compile_rule(syntax: str, expression: str) -> Matcher:
    """Raises InvalidExpression."""
    if syntax == Syntax.WORDS:
        words = WordSearch(expression)
        return Matcher(lambda text, seconds: words.search(text))
    pattern = compile_pattern(expression)
    return Matcher(lambda text, seconds: pattern.search(text, timeout=seconds, concurrent=True))


class WordSearch:
    """Whole words and phrases. The text's words are looked up in a set; what isn't one plain word is an alternative of a pattern."""

    def __init__(self, expression: str) -> None:
        """Raises InvalidExpression."""
        lines = [" ".join(words) for line in expression.splitlines() if (words := normalize(line).split())]
        if not lines:
            raise InvalidExpression("Write at least one word.")
        if any("*" in line[:-1] or line == "*" for line in lines):
            raise InvalidExpression("A * stands for the end of a word: it follows the letters of the last one.")
        self.words = frozenset(line for line in lines if WORD.fullmatch(line) and not UNSPACED.search(line))
        others = [line for line in lines if line not in self.words]
        self.others = re.compile("|".join(map(alternative, others))) if others else None

    def search(self, text: str) -> re.Match[str] | None:
        found = next((match for match in WORD.finditer(text) if match[0] in self.words), None)
        return found or (self.others and self.others.search(text))


def alternative(line: str) -> str:
    """What is matched of one line: the words of a phrase may have any space between them."""
    is_beginning, line = line.endswith("*"), line.removesuffix("*")
    ending = r"\w*" if is_beginning else edge(line[-1], "(?!")
    return edge(line[0], "(?<!") + r"\s+".join(map(re.escape, line.split(" "))) + ending


def edge(letter: str, lookaround: str) -> str:
    """Beside a word's first or last letter: no other, which would make it a part of another word."""
    return rf"{lookaround}\w)" if re.match(r"\w", letter) and not UNSPACED.match(letter) else ""


def compile_pattern(expression: str) -> Any:
    try:
        return regex.compile(expression, regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise InvalidExpression(f"This is no regular expression: {error}.") from None


def try_pattern(pattern: Any) -> None:
    try:
        if pattern.search("", timeout=TRIAL_SECONDS):
            raise InvalidExpression("It matches every prompt, since it matches an empty one.")
        for text in TRIAL_TEXTS:
            pattern.search(text, timeout=TRIAL_SECONDS)
    except TimeoutError:
        raise InvalidExpression(
            "It takes too long on a text of 1,000 characters: a repetition inside of a repetition, such as (a+)+, is the usual reason."
        ) from None


def readings(texts: Iterable[str]) -> list[str]:
    """Each text as `normalize` gives it, and how it reads without the brackets of weights."""
    whole = [normalize(text) for text in texts]
    return list(dict.fromkeys(reading for text in whole for reading in (text, text.translate(BRACKETS))))


def normalize(text: str) -> str:
    """One form of each letter (NFKC), small, without what is not seen and marks that make no letter of their own, each word of one
    script, and with spaces for the underscores of tags.
    """
    text = IGNORED.sub("", text)  # before letters are composed, too: it may stand between a letter and its mark
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = MARKS.sub("", text)
        text = WORD.sub(lambda word: of_one_script(word[0]), text)
    return text.casefold().replace("_", " ")


def of_one_script(word: str) -> str:
    """No language mixes Latin letters with others that look like them: a word that does is meant to be taken for another."""
    if word.isascii() or not LATIN_LETTER.search(word):
        return word
    return word.translate(TO_CYRILLIC if OWN_CYRILLIC.search(word) else TO_LATIN)
