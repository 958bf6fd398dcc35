"""The part of graph_cache.py that needs CUDA: recording what a call launches, and the memory that takes.  [torch]"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

WARM_UP_CALLS = 3
"""Before a capture, on the stream that captures: libraries choose their kernels and take their workspaces in the first calls."""

Call = Callable[[], Any]
Replay = Callable[[], None]


class Capture(Protocol):
    """What GraphCache needs; the tests have one that records on a CPU."""

    def record(self, call: Call) -> tuple[Replay, Any]:
        """Runs `call` some times and records it: what runs it again, and the output whose tensors that writes to.

        Raises where something in the call reads a value of the device or waits for it.
        """

    def reserved_bytes(self) -> int:
        """Of the device's memory, by this process, without what is unused."""

    def leave_pool(self) -> None:
        """When no graph is left: the next one begins a new pool, since the memory of the old one is given back."""


class CudaCapture:
    """Graphs on one device, with one memory pool: one graph runs at a time, so each may use what the others use."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._stream: Any = None

    def record(self, call: Call) -> tuple[Replay, Any]:
        with torch.cuda.device(self._device), torch.inference_mode():
            current = torch.cuda.current_stream()
            self._stream = self._stream or torch.cuda.Stream()
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            try:
                self._warm_up(call, current)
                graph = torch.cuda.CUDAGraph()
                # Other threads decode, score and load meanwhile: "thread_local" lets them.
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                    output = call()
            except BaseException:
                self._pool = None  # the allocator may take the capture to be still going on there
                raise
            finally:
                torch.cuda.set_stream(current)  # a capture that can't be ended leaves its own stream behind as the current one
        return graph.replay, output

    def _warm_up(self, call: Call, current: torch.cuda.Stream) -> None:
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_CALLS):
                call()
        current.wait_stream(self._stream)

    def reserved_bytes(self) -> int:
        with torch.cuda.device(self._device):
            torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._device)

    def leave_pool(self) -> None:
        if self._pool is not None:
            torch.cuda.synchronize(self._device)  # a graph may still be running
        self._pool = None


class ReadTensors(TorchDispatchMode):
    """Notes the tensors that operations read inside and that weren't made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[int, torch.Tensor] = {}
        """One for each storage."""
        self._made: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), options: Any = None) -> Any:
        for storage, tensor in self._storages((args, options)):
            if storage not in self._made:
                self.tensors.setdefault(storage, tensor)
        result = function(*args, **(options or {}))
        self._made |= {storage for storage, _ in self._storages(result)} - self.tensors.keys()
        return result

    def _storages(self, tree: Any) -> list[tuple[int, torch.Tensor]]:
        leaves, _ = tree_flatten(tree)
        return [(leaf.untyped_storage()._cdata, leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)]
