"""Python imports this by itself at its start where this folder is on PYTHONPATH. Memory then runs out where a request asks for it.

In the sampling of a chat with SHORT_SEED, when 5 tokens are left; where a picture of detail "high" is
read. Memory limits of the system can't be aimed so: they would strike threads and the database too.
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

SHORT_SEED, TOKENS_LEFT = 666, 5


def short_sampling(module: ModuleType) -> None:
    begin, sample = module.Sampler.__init__, module.Sampler.sample

    def remembering(sampler: Any, sampling: Any, *given: Any, **options: Any) -> None:
        begin(sampler, sampling, *given, **options)
        sampler.is_short = sampling.seed == SHORT_SEED

    def checked(sampler: Any, logits: Any, left: int) -> Any:
        if sampler.is_short and left == TOKENS_LEFT:
            raise MemoryError
        return sample(sampler, logits, left)

    module.Sampler.__init__, module.Sampler.sample = remembering, checked


def short_pictures(module: ModuleType) -> None:
    read = module.part_of

    def checked(part: Any) -> Any:
        if part.get("detail") == "high":
            raise MemoryError
        return read(part)

    module.part_of = checked


PLACES: dict[str, Callable[[ModuleType], None]] = {
    "api.chat.backends.sampling": short_sampling,
    "api.chat.requests": short_pictures,
}


class Injecting(PathFinder):
    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target)
        if spec is not None and fullname in PLACES:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                PLACES[fullname](module)

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path = [Injecting if finder is PathFinder else finder for finder in sys.meta_path]
