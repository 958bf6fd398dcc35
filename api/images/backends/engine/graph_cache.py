"""The denoiser's forward as CUDA graphs: a thousand launches from Python are recorded once and then launched as one.  [torch]

    with graphed(lease, pipeline.unet, pads_rows=True):
        run_pass(pipeline.unet, rows)

Three times as fast for one picture of SD 1.5 on an H200 (10 ms a pass against 33). A shape runs as it is the first time, is
captured the second time, and replayed from then on. What can't be captured, or doesn't give what the plain forward gives, runs as
it is for ever. The graphs of a model have one memory pool, and are dropped with the model, when its weights move or its adapters
change, and when memory runs out. On other devices than CUDA nothing changes.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from api.images.backends.adapters import PutOn, adapters_on
from api.images.backends.engine.compilation import BlockCompiler
from api.images.backends.engine.cuda_capture import Capture, CudaCapture, ReadTensors
from api.images.backends.lora_changes import Lora
from api.loading.device_memory import classify_error
from api.loading.few_bits import plain_tensors
from api.loading.model_leases import Lease

logger = logging.getLogger("darkroom.models")

BUCKETS = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32)
"""Entries of a UNet batch that there are graphs for; others are padded with zeros. More run as they are: they fill a GPU."""
MOST_GRAPHS = 24
MEMORY_SHARE = 0.1
"""Of the device's memory, for the graphs of one model."""
MOST_FAILURES = 4
"""From then on a model's denoiser isn't captured any more with the same adapters."""
IDLE_PASSES = 500
"""A graph that wasn't used for so many passes makes room for another; before, the other one waits."""
PASSES_AFTER_SHORTAGE = 500
"""After memory ran out, so many passes run as they are before a capture is tried again."""
MOST_SEEN = 256
"""Shapes that came once and are remembered."""
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""Between a graph's output and the plain one, as a share of the largest value (of 1 at least)."""
CONSTANTS = (bool, int, float, str, type(None), torch.dtype, torch.device)
"""Arguments that become part of a graph, beside the tensors that it reads."""

Forward = Callable[..., Any]
Key = tuple[object, ...]


@contextmanager
def graphed(lease: Lease, denoiser: Any, *, pads_rows: bool = False) -> Iterator[None]:
    """Inside, the denoiser's forward runs as graphs where that is possible and wanted.

    `pads_rows`: the first dimension of all tensors is rows that don't depend on each other.
    """
    model = lease.loaded_model
    if lease.device.type != "cuda" or not (model.options.graphs or model.options.compile_blocks):
        yield
        return
    if "graphs" not in model.caches:
        model.caches["graphs"] = GraphCache.of(lease)
    cache = model.caches["graphs"]
    assert isinstance(cache, GraphCache)
    if hasattr(denoiser, "_hf_hook") or "group_offload" in lease.measures:  # its weights move to the device and away again
        cache.drop()
        yield
        return
    cache.fit(denoiser, adapters_on(denoiser), [name for name in lease.measures if not name.startswith("vae")])
    forward = denoiser.forward

    @functools.wraps(forward)  # pipelines look at its parameters
    def run(*args: Any, **options: Any) -> Any:
        return cache.run(forward, args, options, pads_rows=pads_rows)

    with replaced_forward(denoiser, run):
        yield


@contextmanager
def replaced_forward(denoiser: Any, run: Forward) -> Iterator[None]:
    replaced = vars(denoiser).get("forward")
    denoiser.forward = run
    try:
        yield
    finally:
        del denoiser.forward
        if replaced is not None:  # what accelerate leaves behind when its hooks are removed
            denoiser.forward = replaced


class GraphCache:
    """The graphs of one loaded model's denoiser. Used by the thread that has the lease; `describe` by any."""

    def __init__(
        self, device: torch.device, capture: Capture, most_bytes: int, *, graphs: bool = True, compile_blocks: bool = False
    ) -> None:
        self._device, self._capture, self._most_bytes, self._wants_graphs = device, capture, most_bytes, graphs
        self._compiler = BlockCompiler() if compile_blocks else None
        self._graphs: OrderedDict[Key, _Graph] = OrderedDict()
        """The least recently used first."""
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._failed: dict[Key, str] = {}
        self._passes, self._next_capture = 0, 0
        self._weights: list[torch.Tensor] = []
        self._places: Key = ()
        self._state: Key = ()
        self._adapters: PutOn | None = None
        self._loras: tuple[Lora, ...] = ()
        self.cache_bytes = 0
        """Of the pool, and of the graphs' inputs."""

    @classmethod
    def of(cls, lease: Lease) -> GraphCache:
        device, options = lease.device, lease.loaded_model.options
        return cls(
            device.torch_device,
            CudaCapture(device.torch_device),
            int(MEMORY_SHARE * device.memory_total),
            graphs=options.graphs,
            compile_blocks=options.compile_blocks,
        )

    def describe(self) -> dict[str, Any]:
        """JSON for the status."""
        state: dict[str, Any] = {
            "captured": len(self._graphs), "failed": len(self._failed), "bytes": self.cache_bytes
        }  # fmt: skip
        errors = [*self._failed.values(), *([self._compiler.error] if self._compiler and self._compiler.error else [])]
        return {**state, "error": errors[0]} if errors else state

    def clear_cache(self) -> None:
        """Memory is short: no graph is left, and for a while none is captured."""
        self.drop()
        self._next_capture = self._passes + PASSES_AFTER_SHORTAGE

    def drop(self) -> None:
        """Give the memory of all graphs back."""
        self._capture.leave_pool()
        self._graphs.clear()
        self._seen.clear()
        self.cache_bytes = 0

    def fit(self, denoiser: torch.nn.Module, adapters: PutOn | None, measures: Sequence[str]) -> None:
        """Drop graphs of another module, of weights that have moved, and of other adapters or memory measures."""
        if (state := (denoiser, id(adapters), *measures)) != self._state:
            self.drop()
            self._state, self._adapters = state, adapters  # kept, so that its id is nobody else's
            self._loras = adapters.loras if adapters else ()
            self._weights = weights_of(denoiser)
            if self._compiler:
                self._compiler.compile(denoiser)
        if (places := places_of(self._weights)) != self._places:
            self.drop()
            self._places = places

    def run(self, forward: Forward, args: tuple[Any, ...], options: dict[str, Any], *, pads_rows: bool) -> Any:
        """What `forward(*args, **options)` gives, as tensors of the caller's own."""
        self._passes += 1
        leaves, form = tree_flatten((args, options))
        call = _Call(forward, leaves, form, pads_rows)
        if not self._wants_graphs or not self._can_be_graph(leaves) or call.bucket is None:
            return self._run_plain(call)
        key = (self._loras, *call.key)
        if (graph := self._graphs.get(key)) is not None:
            self._graphs.move_to_end(key)
            graph.last_used = self._passes
            return graph.run(call)
        if self._is_due(key) and self._make_room():
            return self._record(key, call)
        return self._run_plain(call)

    # ---------------------------------------------------------------- inside

    def _can_be_graph(self, leaves: Sequence[Any]) -> bool:
        """All that can change is in tensors on the device, where the weights are too."""
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return (
            all(isinstance(leaf, (torch.Tensor, *CONSTANTS)) for leaf in leaves)
            and bool(tensors and self._weights)
            and {tensor.device for tensor in (*tensors, self._weights[0])} == {self._weights[0].device}
            and self._weights[0].device == self._device
        )

    def _is_due(self, key: Key) -> bool:
        """The second time."""
        failures = sum(other[0] == self._loras for other in self._failed)
        if key in self._failed or failures >= MOST_FAILURES or self._passes < self._next_capture:
            return False
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return False

    def _make_room(self) -> bool:
        if len(self._graphs) < MOST_GRAPHS:
            return True
        oldest = next(iter(self._graphs))
        if not self._is_idle(oldest):
            return False
        del self._graphs[oldest]  # its memory stays in the pool, for the next one
        return True

    def _is_idle(self, key: Key) -> bool:
        return self._passes - self._graphs[key].last_used > IDLE_PASSES

    def _record(self, key: Key, call: _Call) -> Any:
        """Capture, and compare with what the plain forward gives, which is this pass's result."""
        padded = call.padded()
        expected = self._run_plain(padded)
        try:
            before = self._capture.reserved_bytes()
            compiled = self._compiler is not None and not self._compiler.error  # Dynamo wouldn't compile while it is watched
            graph = _Graph(call, self._capture, self._passes, watches=not compiled)
            grown = self._capture.reserved_bytes() - before
            error = _difference(call.sliced(expected), graph.run(call))
        except Exception as failure:
            if classify_error(failure) == "oom":
                self.clear_cache()
            else:
                self._fail(key, f"{type(failure).__name__}: {str(failure).partition(chr(10))[0]}")
        else:
            if error:
                self._fail(key, error)
            else:
                self._graphs[key] = graph
                self.cache_bytes += max(0, grown)
                self._keep_within_bound(key)
        if not self._graphs:
            self._capture.leave_pool()
        return call.sliced(expected)

    def _keep_within_bound(self, key: Key) -> None:
        """The pool's memory is only given back as a whole."""
        if self.cache_bytes <= self._most_bytes:
            return
        others = [other for other in self._graphs if other != key]
        too_large, size = not others or not all(map(self._is_idle, others)), self.cache_bytes
        self.drop()
        if too_large:
            self._fail(key, f"the graphs would take {size / 1e9:.1f} GB, more than {MEMORY_SHARE:.0%} of the device's memory")

    def _fail(self, key: Key, error: str) -> None:
        """Said once for each model; status has the number and the first reason."""
        if not self._failed:
            logger.warning("a denoiser runs without a CUDA graph, which is slower: %s", error)
        self._failed[key] = error

    def _run_plain(self, call: _Call) -> Any:
        if self._compiler is None:
            return call.run()
        with torch.inference_mode():  # as when capturing: the compiler would compile again for another mode
            output = self._compiler.run(call.run)
        return _own(output)


class _Call:
    """One call of a forward, taken apart."""

    def __init__(self, forward: Forward, leaves: Sequence[Any], form: TreeSpec, pads_rows: bool) -> None:
        self._forward, self._leaves, self._form, self._pads_rows = forward, leaves, form, pads_rows
        self.tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self.rows = len(self.tensors[0]) if self.tensors and self.tensors[0].ndim else 0
        self.is_padded = pads_rows and all(tensor.ndim and len(tensor) == self.rows for tensor in self.tensors)

    @property
    def bucket(self) -> int | None:
        """Rows of the graph that it fits into; None where there is none."""
        return next((size for size in BUCKETS if size >= self.rows), None) if self.is_padded else self.rows

    @property
    def key(self) -> Key:
        leaves = (
            (leaf.dtype, leaf.shape[1:] if self.is_padded else leaf.shape)
            if isinstance(leaf, torch.Tensor)
            else (type(leaf), leaf)
            for leaf in self._leaves
        )
        return (self.bucket, self.is_padded, torch.backends.cudnn.deterministic, self._form, *leaves)

    def run(self) -> Any:
        return self.run_with(self.tensors)

    def run_with(self, tensors: Sequence[torch.Tensor]) -> Any:
        waiting = iter(tensors)
        leaves = [next(waiting) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        args, options = tree_unflatten(leaves, self._form)
        return self._forward(*args, **options)

    def padded(self) -> _Call:
        """As a call of `bucket` rows."""
        if not self.is_padded:
            return self
        leaves = [_pad(leaf, self.bucket or 0) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        return _Call(self._forward, leaves, self._form, True)

    def sliced(self, output: Any) -> Any:
        """Of the output of a padded call, the rows that are this call's."""
        if not self.is_padded or self.rows == self.bucket:
            return output
        return tree_map_only(torch.Tensor, lambda tensor: tensor[: self.rows], output)


class _Graph:
    """It is recorded with zeros: if something of a call's values were recorded too, the comparison would show it."""

    def __init__(self, call: _Call, capture: Capture, now: int, *, watches: bool) -> None:
        self.last_used, self._filled = now, 0
        self._watches = watches
        self._inputs = [torch.zeros_like(tensor) for tensor in call.padded().tensors]  # outside of the pool
        self._kept: list[torch.Tensor] = []
        self._replay, self._output = capture.record(lambda: self._run_recorded(call))
        leaves, _ = tree_flatten(self._output)
        if not any(isinstance(leaf, torch.Tensor) for leaf in leaves):
            raise TypeError("its output has no tensors")

    def _run_recorded(self, call: _Call) -> Any:
        """Keeps what is read from elsewhere: a module may cache tensors (rotary tables) and forget them before the graph does."""
        if not self._watches:
            return call.run_with(self._inputs)
        with ReadTensors() as read:
            output = call.run_with(self._inputs)
        self._kept = list(read.tensors.values())
        return output

    def run(self, call: _Call) -> Any:
        for place, tensor in zip(self._inputs, call.tensors, strict=True):
            if call.is_padded:
                place[: call.rows].copy_(tensor)
                place[call.rows : self._filled].zero_()
            else:
                place.copy_(tensor)
        self._filled = call.rows
        self._replay()
        return _own(call.sliced(self._output))  # the next replay writes over it


def _pad(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    zeros = tensor.new_zeros((rows - len(tensor), *tensor.shape[1:]))
    return torch.cat([tensor, zeros]) if len(zeros) else tensor


def _own(output: Any) -> Any:
    return tree_map_only(torch.Tensor, torch.clone, output)


def weights_of(denoiser: Any) -> list[torch.Tensor]:
    """All that a pass reads of the model, packed weights by the tensors that hold them."""
    return [tensor for weight in (*denoiser.parameters(), *denoiser.buffers()) for tensor in plain_tensors(weight)]


def places_of(weights: Sequence[torch.Tensor]) -> Key:
    """Other ones whenever weights move: 0.15 ms for SDXL's 1,680."""
    if not weights:
        return ()
    first = weights[0]
    return (first.dtype, first.stride(), *(weight.data_ptr() for weight in weights))


def _difference(expected: Any, got: Any) -> str:
    """What is wrong with a graph's output, or ""."""
    ours, theirs = (
        [leaf.float() for leaf in tree_flatten(output)[0] if isinstance(leaf, torch.Tensor)] for output in (got, expected)
    )
    dtype = next(leaf.dtype for leaf in tree_flatten(expected)[0] if isinstance(leaf, torch.Tensor))
    tolerance = 0.0 if torch.backends.cudnn.deterministic else TOLERANCE.get(dtype, 0.0)
    for one, other in zip(ours, theirs, strict=True):
        same = (one == other) | (one.isnan() & other.isnan())
        largest = float(torch.where(same, 0, (one - other).abs()).max())
        allowed = tolerance * max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
        if not largest <= allowed:
            return f"its output differs by {largest:.2g} from that of the plain forward, and {allowed:.2g} is allowed"
    return ""
