"""Ids for files: what API.md allows of a file's name, unique in the library and against the catalog's tables."""

import hashlib
import re
import unicodedata
from collections.abc import Container

from api.library.models import LONGEST_ID

SUFFIX_DIGITS = 6
WITHOUT_LETTERS = "file"


def make_slug(stem: str, path: str, taken: Container[str]) -> str:
    """From a file's name without its ending; with digits of its path's hash where another file has that id already."""
    slug = plain_slug(stem)
    digest = hashlib.blake2b(path.encode()).hexdigest()
    length = SUFFIX_DIGITS
    while slug in taken:
        slug = f"{plain_slug(stem)[: LONGEST_ID - length - 1]}-{digest[:length]}"
        length += SUFFIX_DIGITS
    return slug


def plain_slug(stem: str) -> str:
    """'Épicé (v2) 🎨' gives 'Epice-v2'."""
    ascii_text = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", ascii_text)
    tidy = re.sub(r"-*\.[-.]*", ".", re.sub(r"-{2,}", "-", words))
    return tidy[:LONGEST_ID].strip("-_.") or WITHOUT_LETTERS
