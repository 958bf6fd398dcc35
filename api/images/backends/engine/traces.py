"""The denoiser's forward as a TorchScript trace, on a CPU: the same operations without Python between them.  [torch]

    with traced(lease, pipeline.unet):
        run_pass(pipeline.unet, rows)

A fifth of a small UNet's pass is Python (starter, one picture with guidance: 4 to 5 of 21 ms). A trace takes as long as some fifty
passes save, so a shape is traced when it has come that often, or in a warm-up, and only where a pass is quick: beside seconds of
arithmetic nothing is gained. One trace serves any number of rows, if it gives the same bytes as the plain forward with one row, which
broadcasts; with as many as it was made of; and with another number, where a number that it took for a constant shows. What can't be
traced runs as it is. A trace reads the model's own weights and takes no memory for them.
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
from api.images.backends.engine.graph_cache import CONSTANTS, Forward, Key, places_of, replaced_forward, weights_of
from api.loading.device_memory import classify_error
from api.loading.model_leases import Lease, LoadedModel

logger = logging.getLogger("darkroom.models")

PASSES_BEFORE = 60
"""Of a shape, as it is."""
QUICK_SECONDS = 0.2
"""Of this thread's time: a slower pass isn't traced."""
ROWS_TRACED = 2
ROWS_PROVED = (1, ROWS_TRACED, 3)
"""Few, since the cost of a proof falls on somebody's picture."""
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


@contextmanager
def tracing_at_once(model: LoadedModel) -> Iterator[None]:
    """Inside, a shape is traced when it comes for the first time: where nobody waits for a picture."""
    traces = model.caches.get("traces")
    if not isinstance(traces, TraceCache):
        yield
        return
    traces.passes_before = 0
    try:
        yield
    finally:
        traces.passes_before = PASSES_BEFORE


class TraceCache:
    """Of one loaded model's denoiser. Used by the thread that has the lease; `describe` by any."""

    cache_bytes = 0

    def __init__(self) -> None:
        self.passes_before = PASSES_BEFORE
        self._passes: Counter[Key] = Counter()
        self._traces: dict[Key, Callable[..., Any]] = {}
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
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if not all(isinstance(leaf, (torch.Tensor, *CONSTANTS)) for leaf in leaves) or not _have_rows(tensors):
            return forward(*args, **options)
        parts = [(leaf.shape[1:], leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        key: Key = (form, *parts)
        if key in self._traces:
            return _run_trace(self._traces[key], tensors)
        started = time.thread_time()
        plain = forward(*args, **options)
        if key not in self._failed and self._is_due(key, time.thread_time() - started):
            self._trace(key, plain, tensors, _Call(denoiser, forward, leaves, form))
        return plain

    def _is_due(self, key: Key, seconds: float) -> bool:
        if len(self._passes) >= MOST_SHAPES:
            self._passes.clear()
        self._passes[key] += 1
        return len(self._traces) < MOST_TRACES and seconds <= QUICK_SECONDS and self._passes[key] > self.passes_before

    def _trace(self, key: Key, plain: Any, tensors: Sequence[torch.Tensor], call: _Call) -> None:
        """Used from now on, if it gives what the plain forward gives: `plain` for these tensors."""
        try:
            made = call.trace(_with_rows(tensors, ROWS_TRACED))
            _check(made, tensors, plain)
            for rows in ROWS_PROVED:
                given = _with_rows(tensors, rows)
                _check(made, given, call(*given))
        except Exception as error:
            if classify_error(error) == "oom":
                raise
            self._failed.add(key)
            self._error = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            logger.warning("a denoiser's pass can't be traced: %s", self._error)
        else:
            self._traces[key] = made


def _run_trace(trace: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Any:
    """Without TorchScript's watching of the first runs, which takes 0.13 s, and gains nothing on a CPU."""
    with torch.jit.optimized_execution(False):
        return trace(*tensors)


def _check(trace: Callable[..., Any], tensors: Sequence[torch.Tensor], plain: Any) -> None:
    if not all(_are_same(one, other) for one, other in zip(plain, _run_trace(trace, tensors), strict=True)):
        raise ValueError("a trace gave other numbers")


def _have_rows(tensors: Sequence[torch.Tensor]) -> bool:
    return all(tensor.ndim and len(tensor) == len(tensors[0]) for tensor in tensors)


def _with_rows(tensors: Sequence[torch.Tensor], rows: int) -> list[torch.Tensor]:
    """So many, made of the first one, and each another."""
    return [torch.cat([tensor[:1] * (1 - number / 8) for number in range(rows)]).to(tensor.dtype) for tensor in tensors]


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
