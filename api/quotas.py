"""Limits of what a key may use: their names, how people write them, and what a job is expected to use.  [no Django]

A quota is of a measure in a period, which begin in UTC, or of the bytes that the key's pictures and uploads take now.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

MEASURES = ("jobs", "pictures", "pixels", "bytes")
PERIODS = ("day", "month")
STORED = "stored_bytes"
NAMES = (*(f"{measure}_per_{period}" for period in PERIODS for measure in MEASURES), STORED)
LARGEST = 2**60
NO_LIMIT = "none"
NUMBER = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,6})?)([KMGT]?)")
FORM = f"NAME=NUMBER, with a NAME of {', '.join(NAMES)}, such as pictures_per_day=100 or {STORED}=10G, or NAME={NO_LIMIT}"
BYTES_PER_PIXEL = 4
"""That a picture under way is expected to take: more than any format does, since no file is larger than its pixels with transparency."""

Quotas = dict[str, int | None]
"""By name; None: no limit, whatever the general one is."""


class Amount(NamedTuple):
    """What is used, or expected to be. Bytes are of what is made, and not of what is sent."""

    jobs: int = 0
    pictures: int = 0
    pixels: int = 0
    bytes: int = 0

    @classmethod
    def of_pictures(cls, sizes: Iterable[tuple[int, int]]) -> "Amount":
        """That are still to be made, each of so many pixels in width and height."""
        areas = [width * height for width, height in sizes]
        return cls(0, len(areas), sum(areas), BYTES_PER_PIXEL * sum(areas))

    def plus(self, other: "Amount") -> "Amount":
        return Amount(*(one + more for one, more in zip(self, other, strict=True)))

    def less(self, other: "Amount") -> "Amount":
        """What is more than `other`."""
        return Amount(*(max(0, one - given) for one, given in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Quota:
    """One limit."""

    name: str
    limit: int

    @property
    def measure(self) -> str:
        return self.name.partition("_per_")[0]

    @property
    def period(self) -> str:
        """Empty for what is kept now."""
        return self.name.partition("_per_")[2]

    def asked_of(self, amount: Amount) -> int:
        return amount.bytes if self.name == STORED else int(getattr(amount, self.measure))


def read_quotas(texts: Iterable[str]) -> Quotas:
    """Of texts such as pictures_per_day=100. Raises ValueError with a sentence."""
    quotas: Quotas = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name not in NAMES or not equals:
            raise ValueError(f"{text!r} is no limit: it is {FORM}.")
        if name in quotas:
            raise ValueError(f"{name} is given twice.")
        quotas[name] = read_limit(name, value)
    return quotas


def read_limit(name: str, text: str) -> int | None:
    """Units are powers of 1024 for bytes, of 1000 for what is counted. Raises ValueError with a sentence."""
    if text.lower() == NO_LIMIT:
        return None
    found = NUMBER.fullmatch(text.upper())
    base = 1024 if "bytes" in name else 1000
    limit = int(float(found[1]) * base ** " KMGT".index(found[2] or " ")) if found else -1
    if not 0 <= limit <= LARGEST:
        raise ValueError(f"{name} is a whole number from 0 on, such as 500, 20M or 1.5G, or {NO_LIMIT}; not {text!r}.")
    return limit


def are_quotas(value: object) -> bool:
    """Whether this, as JSON has it, is of this form."""
    return isinstance(value, dict) and all(name in NAMES and is_limit(limit) for name, limit in value.items())


def is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST)


def quotas_in_force(own: Mapping[str, int | None], general: Mapping[str, int | None]) -> tuple[Quota, ...]:
    """A key's own go before the general ones."""
    all_set = {**general, **own}
    return tuple(Quota(name, limit) for name in NAMES if (limit := all_set.get(name)) is not None)
