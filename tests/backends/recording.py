"""In CUDA's place, something that records and replays on a CPU: a replay calls the function again on the same buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from api.devices import Device
from api.images.backends.engine.cuda_capture import WARM_UP_CALLS


class FakeCuda(Device):
    """A device that says it is CUDA, and computes on the CPU."""

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def empty_cache(self) -> None: ...

    def free_memory(self) -> int:
        return self.memory_total

    def used_memory(self) -> int:
        return 0


class Recording:
    """`grows`: bytes that each record takes. `error`: what the next records raise. `frozen`: replays change nothing."""

    def __init__(self) -> None:
        self.grows, self.frozen = 100, False
        self.error: Exception | None = None
        self.records = self.replays = self.pools = 0
        self._reserved = 0

    def record(self, call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        if self.error:
            raise self.error
        with torch.inference_mode():
            for _ in range(WARM_UP_CALLS):
                call()
            output = call()
        self.records += 1
        self._reserved += self.grows

        def replay() -> None:
            self.replays += 1
            with torch.inference_mode():
                for place, made in zip(tree_flatten(output)[0], tree_flatten(call())[0], strict=True):
                    if not self.frozen:
                        place.copy_(made)

        return replay, output

    def reserved_bytes(self) -> int:
        return self._reserved

    def leave_pool(self) -> None:
        self.pools += 1
        self._reserved = 0
