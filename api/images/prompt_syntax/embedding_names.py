"""Textual inversion embeddings that a prompt names.

Each name is replaced by one character that no prompt has, so that no syntax reads anything in it. A name like an ordinary word (`cat`)
is an embedding only where it is written exactly so; other names (`EasyNegative`, `bad-hands-5`) in any case. Inside a longer word it
is none.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.catalog import EmbeddingEntry

FIRST_PLACEHOLDER = 0x100000
MOST_EMBEDDINGS = 64
"""In one text."""
PLACEHOLDERS = re.compile(f"[{chr(FIRST_PLACEHOLDER)}-{chr(FIRST_PLACEHOLDER + MOST_EMBEDDINGS - 1)}]")
REPLACEMENT = "\ufffd"
WORD = re.compile(r"[A-Za-z]?[a-z]*")
_UNUSUAL = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class NamedEmbedding:
    """An embedding, and what the prompt calls it."""

    name: str
    entry: EmbeddingEntry


def find_named(texts: Iterable[str], offered: Iterable[EmbeddingEntry]) -> tuple[NamedEmbedding, ...]:
    """Those of `offered` that one of `texts` names; the longest names come first."""
    whole = "\n".join(texts)
    folded = whole.lower()
    found = {
        name: entry
        for entry in offered
        for name in names_of(entry)
        if name.lower() in folded and pattern_of(name).search(whole)
    }
    ordered = sorted(found.items(), key=lambda item: (-len(item[0]), item[0]))
    return tuple(NamedEmbedding(name, entry) for name, entry in ordered[:MOST_EMBEDDINGS])


def put_placeholders(text: str, embeddings: Sequence[NamedEmbedding]) -> str:
    """The i-th embedding's name is the i-th placeholder; such characters of the prompt's own are no placeholders."""
    text = PLACEHOLDERS.sub(REPLACEMENT, text)
    for number, embedding in enumerate(embeddings):
        text = pattern_of(embedding.name).sub(chr(FIRST_PLACEHOLDER + number), text)
    return text


def put_names(text: str, embeddings: Sequence[NamedEmbedding]) -> str:
    """The opposite of `put_placeholders`."""
    return PLACEHOLDERS.sub(lambda match: embeddings[number_of(match[0])].name, text)


def number_of(placeholder: str) -> int:
    return ord(placeholder) - FIRST_PLACEHOLDER


def names_of(entry: EmbeddingEntry) -> list[str]:
    """Its file's name rather than the slug that was made of it, where that would be an ordinary word."""
    names = list(entry.aliases)
    if not names or not is_ordinary(entry.id):
        names.append(entry.id)
    return list(dict.fromkeys(names))


def is_ordinary(name: str) -> bool:
    return WORD.fullmatch(name) is not None


def pattern_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", 0 if is_ordinary(name) else re.IGNORECASE)


def unusual_words(texts: Iterable[str]) -> list[str]:
    """Words that no language has, each once: what may be meant for the name of an embedding."""
    words = (word for text in texts for word in _UNUSUAL.findall(text))
    return list(dict.fromkeys(word for word in words if not is_ordinary(word) and any(letter.isalpha() for letter in word)))
