"""What a picture will be, as those who watch it are shown. No torch, no Django."""

from __future__ import annotations


class Preview(bytes):
    """A small JPEG. `number`: of the picture among all that its job makes, from 0."""

    number: int

    def __new__(cls, jpeg: bytes, number: int) -> Preview:
        made = super().__new__(cls, jpeg)
        made.number = number
        return made
