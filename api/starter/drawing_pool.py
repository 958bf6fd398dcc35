"""Drawings that are shown several times, each time changed a little, since drawing one costs as much as a step of training with it."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

Drawing = TypeVar("Drawing")
FEWEST = 64


class DrawingPool(Generic[Drawing]):
    """`stream`: endless new drawings; `move`: another view of one. `fresh_share`: how often a new one is shown."""

    def __init__(
        self,
        stream: Iterator[Drawing],
        move: Callable[[Drawing, np.random.Generator], Drawing],
        rng: np.random.Generator,
        *,
        size: int,
        fresh_share: float,
    ) -> None:
        self._stream, self._move, self._rng = stream, move, rng
        self._size, self._fresh_share = size, fresh_share
        self._drawings: list[Drawing] = []

    def take(self) -> Drawing:
        if len(self._drawings) < FEWEST or self._rng.random() < self._fresh_share:
            drawing = next(self._stream)
            if len(self._drawings) < self._size:
                self._drawings.append(drawing)
            else:
                self._drawings[int(self._rng.integers(self._size))] = drawing
        else:
            drawing = self._drawings[int(self._rng.integers(len(self._drawings)))]
        return self._move(drawing, self._rng)
