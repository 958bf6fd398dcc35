"""A denoiser's forward as graphs, with a recorder in CUDA's place: what is captured, when, and what is dropped."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from api.images.backends.adapters import PutOn
from api.images.backends.engine.graph_cache import IDLE_PASSES, MOST_FAILURES, MOST_GRAPHS, PASSES_AFTER_SHORTAGE, GraphCache
from api.images.backends.lora_changes import Lora
from tests.backends.recording import Recording

CPU = torch.device("cpu")


class Denoiser(torch.nn.Module):
    """Each row depends on its own inputs alone, as a UNet's. Keeps the inputs that it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 4, 1, 1), 2.0), requires_grad=False)
        self.calls: list[torch.Tensor] = []
        self.inner = torch.nn.Identity()

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, added: dict[str, torch.Tensor] | None = None, scale: float = 1.0
    ) -> tuple[torch.Tensor]:
        self.calls.append(sample.clone())
        more = 0 if added is None else added["ids"].sum(1).view(-1, 1, 1, 1)
        return (self.inner(sample * self.weight * scale) + timestep.view(-1, 1, 1, 1) + more,)


class Bench:
    """A cache with a denoiser, called as `graphed` does."""

    def __init__(self, most_bytes: int = 10_000, **options: Any) -> None:
        self.module, self.recording = Denoiser(), Recording()
        self.cache = GraphCache(CPU, self.recording, most_bytes, **options)
        self.adapters: PutOn | None = None
        self.measures: list[str] = []

    def __call__(self, rows: int = 1, side: int = 8, *, pads_rows: bool = True, **options: Any) -> torch.Tensor:
        sample, timestep = torch.randn(rows, 4, side, side, dtype=options.pop("dtype", None)), torch.rand(rows)
        return self.on(sample, timestep, pads_rows=pads_rows, **options)

    def on(self, sample: torch.Tensor, timestep: torch.Tensor, *, pads_rows: bool = True, **options: Any) -> torch.Tensor:
        """The output, which is compared with the plain forward's."""
        self.cache.fit(self.module, self.adapters, self.measures)
        inputs = {"timestep": timestep, **options}
        given = sample.clone()
        [made] = self.cache.run(self.module.forward, (sample,), inputs, pads_rows=pads_rows)
        assert torch.allclose(sample, given, 0, 0, equal_nan=True)
        if not self.recording.frozen and all(isinstance(value, torch.Tensor) for value in inputs.values()):
            assert torch.allclose(made, self.module.forward(sample, **inputs)[0], equal_nan=True)
        return made

    @property
    def counts(self) -> tuple[int, int]:
        """Captured and replayed by passes (a capture replays once, to compare)."""
        return self.recording.records, self.recording.replays - self.recording.records


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---------------------------------------------------------------- what is captured


def test_a_shape_runs_as_it_is_then_is_captured_then_replayed(bench: Bench) -> None:
    counts = []
    for _ in range(4):
        bench()
        counts.append(bench.counts)
    assert counts == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert bench.cache.describe() == {"captured": 1, "failed": 0, "bytes": 100}


def test_outputs_are_the_caller_s_own(bench: Bench) -> None:
    made = [bench() for _ in range(5)]
    kept = [one.clone() for one in made]
    bench()
    assert all(map(torch.equal, made, kept))
    made[-1].add_(1)  # no tensor of inference mode


@pytest.mark.parametrize(
    ("rows", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 6), (7, 8), (9, 12), (13, 16), (17, 20), (21, 24), (32, 32)]
)
def test_rows_are_padded_to_a_bucket(bench: Bench, rows: int, bucket: int) -> None:
    bench(rows)
    bench.module.calls.clear()
    assert len(bench(rows)) == rows
    assert {len(sample) for sample in bench.module.calls[:-1]} == {bucket}  # the last is the test's own call


def test_numbers_of_rows_in_one_bucket_share_a_graph_and_the_rest_of_it_is_zeros(bench: Bench) -> None:
    for rows in (8, 8, 7, 8, 7):
        bench(rows)
    assert bench.counts == (1, 3)
    bench.module.calls.clear()
    bench(7)
    assert not bench.module.calls[0][7:].any()


def test_more_rows_than_the_largest_bucket_run_as_they_are(bench: Bench) -> None:
    for _ in range(3):
        bench(33)
    assert bench.counts == (0, 0)


def test_a_row_that_is_not_a_number_leaves_its_neighbours_and_the_graph_alone(bench: Bench) -> None:
    sample = torch.randn(3, 4, 8, 8)
    sample[1] = float("nan")
    for _ in range(3):
        made = bench.on(sample, torch.rand(3))
    assert made[::2].isfinite().all()
    assert bench.counts == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 2},
        {"side": 16},
        {"dtype": torch.float64},
        {"added": {"ids": torch.ones(1, 6)}},
        {"scale": 2.0},
        {"pads_rows": False},
    ],
    ids=str,
)
def test_what_differs_in_more_than_values_is_another_graph(bench: Bench, change: dict[str, Any]) -> None:
    for _ in range(2):
        bench()
    bench(**change)
    assert bench.counts == (1, 0)
    bench(**change)
    bench(**change)
    assert bench.counts == (2, 1)


def test_widths_of_conditioning_are_part_of_a_shape(bench: Bench) -> None:
    for width in (6, 6, 5, 6):
        bench(added={"ids": torch.ones(1, width)})
    assert bench.counts == (1, 1)


def test_without_padding_tensors_may_have_any_first_dimension(bench: Bench) -> None:
    for _ in range(3):
        bench.on(torch.randn(3, 4, 8, 8), torch.rand(1), pads_rows=False)
    assert bench.counts == (1, 1)


@pytest.mark.parametrize("strange", [object(), torch.zeros(1, device="meta")], ids=["an object", "another device"])
def test_what_no_graph_can_hold_runs_as_it_is(bench: Bench, strange: Any) -> None:
    def forward(sample: torch.Tensor, more: Any) -> torch.Tensor:
        return sample + 1

    bench.cache.fit(bench.module, None, [])
    for _ in range(3):
        assert bench.cache.run(forward, (torch.zeros(1), strange), {}, pads_rows=False).tolist() == [1.0]
    assert bench.counts == (0, 0)


def test_with_graphs_off_nothing_is_captured() -> None:
    bench = Bench(graphs=False)
    for _ in range(3):
        bench()
    assert bench.counts == (0, 0)


def test_tensors_that_the_denoiser_caches_and_forgets_live_as_long_as_the_graph_that_reads_them(bench: Bench) -> None:
    tables: dict[int, torch.Tensor] = {}

    def forward(sample: torch.Tensor) -> torch.Tensor:
        if len(sample) not in tables:
            tables[len(sample)] = torch.ones(1)
        return sample * tables[len(sample)]

    bench.cache.fit(bench.module, None, [])
    for _ in range(2):
        bench.cache.run(forward, (torch.ones(1, 2),), {}, pads_rows=True)
    table = weakref.ref(tables.pop(1))
    gc.collect()
    assert table() is not None
    bench.cache.drop()
    gc.collect()
    assert table() is None


# ---------------------------------------------------------------- what fails


def test_what_cannot_be_captured_runs_as_it_is_for_ever_and_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.recording.error = RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
    with caplog.at_level(logging.WARNING, "darkroom.models"):
        for _ in range(2):
            bench(1)
            bench(2)
    bench.recording.error = None
    for _ in range(3):
        bench(1)
    reason = "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    assert bench.counts == (0, 0)
    assert bench.cache.describe() == {"captured": 0, "failed": 2, "bytes": 0, "error": reason}
    assert caplog.messages == [f"a denoiser runs without a CUDA graph, which is slower: {reason}"]


def test_other_shapes_are_captured_until_several_failed_with_these_adapters(bench: Bench) -> None:
    def fail(side: int) -> None:
        bench.recording.error = RuntimeError("no")
        bench(side=side), bench(side=side)
        bench.recording.error = None

    for side in range(1, MOST_FAILURES):
        fail(side)
    bench(side=32), bench(side=32)
    assert bench.recording.records == 1
    fail(MOST_FAILURES)
    bench(side=31), bench(side=31)
    assert bench.recording.records == 1
    bench.adapters = PutOn((Lora("bold", Path("bold"), 1.0),), [])
    bench(side=31), bench(side=31)
    assert bench.recording.records == 2


def test_a_graph_that_gives_something_else_is_not_used(bench: Bench) -> None:
    """As when a value of the recorded call became part of the graph: it is recorded with zeros, so it shows."""
    bench.recording.frozen = True
    sample, timestep = torch.ones(1, 4, 8, 8), torch.ones(1)
    made = [bench.on(sample, timestep) for _ in range(3)]
    assert all(torch.equal(one, made[0]) for one in made)
    assert bench.cache.describe()["failed"] == 1
    assert "differs by 3 from that of the plain forward" in bench.cache.describe()["error"]
    assert bench.recording.pools > 0


def test_small_differences_are_allowed_but_not_where_the_same_bytes_are_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]

    def forward(sample: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return sample + 1e-6 * calls[0]

    def three_times(cache: GraphCache) -> int:
        cache.fit(bench.module, None, [])
        for _ in range(3):
            cache.run(forward, (torch.ones(1, 2),), {}, pads_rows=True)
        return int(cache.describe()["captured"])

    assert three_times(bench.cache) == 1
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        assert three_times(bench.cache) == 1  # that of the others, which it doesn't use
        assert bench.cache.describe()["failed"] == 1


def test_an_error_of_the_denoiser_itself_is_the_caller_s(bench: Bench) -> None:
    def forward(sample: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    bench.cache.fit(bench.module, None, [])
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            bench.cache.run(forward, (torch.ones(1, 2),), {}, pads_rows=True)
    assert bench.cache.describe()["failed"] == 0


def test_memory_that_runs_out_in_a_capture_costs_the_graphs_and_a_wait(bench: Bench) -> None:
    bench(), bench()
    bench.recording.error = torch.OutOfMemoryError("CUDA out of memory.")
    bench(2), bench(2)
    bench.recording.error = None
    assert bench.cache.describe() == {"captured": 0, "failed": 0, "bytes": 0}
    for _ in range(PASSES_AFTER_SHORTAGE - 1):
        bench(2)
    assert bench.recording.records == 1
    for _ in range(3):
        bench(2)
    assert bench.recording.records == 2


# ---------------------------------------------------------------- what is dropped


def move(bench: Bench) -> None:
    bench.module.weight.data = bench.module.weight.data.clone()


def change_dtype(bench: Bench) -> None:
    bench.module.double()


def put_on(bench: Bench) -> None:
    bench.adapters = PutOn((), [])


def slice_attention(bench: Bench) -> None:
    bench.measures = ["attention_slicing"]


def replace_module(bench: Bench) -> None:
    bench.module = Denoiser()


@pytest.mark.parametrize("change", [move, change_dtype, put_on, slice_attention, replace_module])
def test_graphs_are_dropped_when_what_they_hold_changes(bench: Bench, change: Any) -> None:
    for _ in range(3):
        bench()
    change(bench)
    pools = bench.recording.pools
    bench()
    assert bench.cache.describe()["captured"] == 0
    assert bench.recording.pools > pools
    for _ in range(2):
        bench()
    assert bench.counts == (2, 2)


def test_adapters_put_on_anew_are_others_even_where_they_are_the_same(bench: Bench) -> None:
    bench.adapters = PutOn((), [])
    for _ in range(3):
        bench()
    bench.adapters = PutOn((), [])
    bench()
    assert bench.cache.describe()["captured"] == 0


def test_there_is_a_most_number_of_graphs_and_the_least_recently_used_goes_when_it_is_idle(bench: Bench) -> None:
    sides = range(1, MOST_GRAPHS + 2)
    for side in sides:
        bench(side=side), bench(side=side)
    assert bench.cache.describe()["captured"] == MOST_GRAPHS
    for _ in range(IDLE_PASSES):
        bench(side=1)
    bench(side=sides[-1])
    records = bench.recording.records
    assert records == MOST_GRAPHS + 1
    assert bench.cache.describe()["captured"] == MOST_GRAPHS
    bench(side=1)
    assert bench.recording.records == records  # that one was in use and has stayed


def test_a_graph_beside_graphs_in_use_that_would_take_too_much_is_refused() -> None:
    bench = Bench(most_bytes=150)
    for _ in range(2):
        bench(1), bench(2)
    assert bench.cache.describe()["captured"] == 0
    for _ in range(3):
        bench(1), bench(2)
    told = bench.cache.describe()
    assert (told["captured"], told["failed"], told["bytes"]) == (1, 1, 100)
    assert "the graphs would take 0.0 GB, more than 10%" in told["error"]


def test_idle_graphs_make_room_for_one_that_would_take_too_much() -> None:
    bench = Bench(most_bytes=150)
    bench(1), bench(1)
    for _ in range(IDLE_PASSES + 1):
        bench(33)
    for _ in range(4):
        bench(2)
    assert bench.cache.describe() == {"captured": 1, "failed": 0, "bytes": 100}
