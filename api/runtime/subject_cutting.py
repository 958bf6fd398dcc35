"""Who cuts subjects out of pictures: a capability registers here, so that others can have it done without importing that one."""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image


class SubjectCutter(Protocol):
    def settle(self, model_id: str | None) -> str:
        """The id of a model that cuts subjects out; None is the default. Raises ValidationError."""

    def cut_out(
        self,
        pictures: Sequence[Image.Image],
        model_id: str,
        classes: tuple[str, ...] | None,
        on_progress: Callable[[float, str], None],
        warn: Callable[[str], None],
    ) -> list[Image.Image]:
        """The subject of each on a transparent ground. For the thread that runs models. Raises DarkroomError."""


_cutters: list[SubjectCutter] = []


def register(cutter: SubjectCutter) -> None:
    _cutters[:] = [cutter]


def get_cutter() -> SubjectCutter:
    return _cutters[0]
