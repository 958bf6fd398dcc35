"""Progress of a long command: a line each five seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

TELL_SECONDS = 5.0


@dataclass
class Tell:
    """`tell(text)` writes the text where the last was written long enough ago."""

    write: Callable[[str], object]
    is_wanted: bool = True
    last: float = field(default_factory=time.monotonic)

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self.last + TELL_SECONDS:
            self.now(text)

    def now(self, text: str) -> None:
        self.last = time.monotonic()
        self.write(text)

    @classmethod
    def silent(cls) -> Self:
        return cls(lambda _: None, is_wanted=False)
