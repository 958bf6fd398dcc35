"""The denoiser's forward as a TorchScript trace, on a CPU: the same operations without Python between them.  [torch]

    with traced(lease, pipeline.unet):
        run_pass(pipeline.unet, rows)

A fifth of a small UNet's pass is Python (starter, one picture with guidance: 4 to 5 of 21 ms). A trace takes as long as some sixty
passes save, so a shape is traced when it has come that often, and only where a pass is quick: beside seconds of arithmetic nothing is
gained. One trace serves any number of rows; with each number it runs beside the plain forward once, and is used from then on if it
gave the same bytes. What can't be traced runs as it is. A trace reads the model's own weights and takes no memory for them.
"""

from __future__ import annotations

import functools
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from api.images.backends.adapters import loras_on
from api.images.backends.engine.graphs import CONSTANTS, Forward, Key, places_of, replaced_forward, weights_of
from api.loading.device_memory import classify_error
from api.loading.model_leases import Lease

logger = logging.getLogger("darkroom.models")

PASSES_BEFORE = 60
"""Of a shape, as it is."""
QUICK_SECONDS = 0.2
"""Of this thread's time: a slower pass isn't traced."""
RUNS_TO_PROVE = 2
"""The first one of a trace is watched by TorchScript, and what it learns shapes the next."""
MOST_TRACES = 8
MOST_SHAPES = 256
"""That are counted."""


@contextmanager
def traced(lease: Lease, denoiser: Any) -> Iterator[None]:
    """Inside, the denoiser's forward runs as a trace where there is one."""
    model = lease.loaded_model
    if lease.device.type != "cpu" or not model.options.graphs or loras_on(denoiser):
        yield
        return
    traces = model.caches.setdefault("traces", TraceCache())
    assert isinstance(traces, TraceCache)
    forward = denoiser.forward
    traces.fit(denoiser, lease.measures)

    @functools.wraps(forward)
    def run(*args: Any, **options: Any) -> Any:
        return traces.run(denoiser, forward, args, options)

    with replaced_forward(denoiser, run):
        yield


class TraceCache:
    """Of one loaded model's denoiser. Used by the thread that has the lease; `describe` by any."""

    cache_bytes = 0

    def __init__(self) -> None:
        self._passes: Counter[Key] = Counter()
        self._traces: dict[Key, Callable[..., Any]] = {}
        self._proved: set[tuple[Key, int]] = set()
        """Traces, and numbers of rows with which they gave the same bytes as the plain forward."""
        self._failed: set[Key] = set()
        self._error = ""
        self._state: Key = ()
        self._weights: list[torch.Tensor] = []

    def describe(self) -> dict[str, Any]:
        """JSON for the status."""
        state: dict[str, Any] = {"traced": len(self._traces), "failed": len(self._failed)}
        return {**state, "error": self._error} if self._error else state

    def clear_cache(self) -> None:
        self._traces.clear()
        self._proved.clear()
        self._passes.clear()

    def fit(self, denoiser: torch.nn.Module, measures: Sequence[str]) -> None:
        """Drop traces of other weights, and of other memory measures, which change what layers do."""
        if not self._weights or self._state[:1] != (denoiser,):
            self._weights = weights_of(denoiser)
        if (state := (denoiser, *measures, *places_of(self._weights))) != self._state:
            self.clear_cache()
            self._state = state

    def run(self, denoiser: torch.nn.Module, forward: Forward, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        leaves, form = tree_flatten((args, options))
        if not all(isinstance(leaf, (torch.Tensor, *CONSTANTS)) for leaf in leaves):
            return forward(*args, **options)
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        parts = [(leaf.shape[1:], leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        key, rows = (form, *parts), len(tensors[0])
        if (key, rows) in self._proved:
            return self._traces[key](*tensors)
        started = time.thread_time()
        plain = forward(*args, **options)
        if key not in self._failed and self._is_due(key, time.thread_time() - started):
            self._prove(key, rows, plain, tensors, _Call(denoiser, forward, leaves, form))
        return plain

    def _is_due(self, key: Key, seconds: float) -> bool:
        if len(self._passes) >= MOST_SHAPES:
            self._passes.clear()
        self._passes[key] += 1
        has_room = key in self._traces or len(self._traces) < MOST_TRACES
        return has_room and seconds <= QUICK_SECONDS and self._passes[key] > PASSES_BEFORE

    def _prove(self, key: Key, rows: int, plain: Any, tensors: Sequence[torch.Tensor], call: _Call) -> None:
        """Use the trace with so many rows, if it gives what the plain forward gave."""
        try:
            if key not in self._traces:
                self._traces[key] = call.trace(tensors)
            for _ in range(RUNS_TO_PROVE):
                if not all(_are_same(one, other) for one, other in zip(plain, self._traces[key](*tensors), strict=True)):
                    raise ValueError("a trace gave other numbers")
        except Exception as error:
            if classify_error(error) == "oom":
                raise
            self._traces.pop(key, None)
            self._proved = {proved for proved in self._proved if proved[0] != key}
            self._failed.add(key)
            self._error = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            logger.warning("a denoiser's pass can't be traced: %s", self._error)
        else:
            self._proved.add((key, rows))


def _are_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """A row that isn't finite any more is no fault of the trace."""
    return torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)


class _Call(torch.nn.Module):
    """A call of a forward as a module of its tensors alone."""

    def __init__(self, denoiser: torch.nn.Module, forward: Forward, leaves: Sequence[Any], form: Any) -> None:
        super().__init__()
        self.denoiser = denoiser
        self._forward, self._leaves, self._form = forward, leaves, form

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        args, options = tree_unflatten(leaves, self._form)
        return self._forward(*args, **options)

    def trace(self, tensors: Sequence[torch.Tensor]) -> Callable[..., Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that become constants: they are part of the key
            made: Callable[..., Any] = torch.jit.trace(self, tuple(tensors), check_trace=False)
        return made
