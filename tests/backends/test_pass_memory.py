"""How many rows share a pass, by a meter and a table of what is free in memory's place; and with the process's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from api.catalog import Catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends.engine import engine as engine_module
from api.images.backends.engine.pass_memory import CudaMeter, Meter, PassMemory, ProcessMeter, meter_of
from api.images.backends.local import generate
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request

MB = 2**20
ENTRY = 10 * MB
"""What an entry of the stand-in's batch takes."""


class Memory:
    """A device's memory: `free` is told, and a pass of `entries` takes ENTRY for each."""

    def __init__(self, free: int) -> None:
        self.free, self.entries, self.starts = free, 0, 0
        self.broken = False

    def start(self) -> int:
        self.starts += 1
        return 5 * MB

    def peak(self) -> int:
        if self.broken:
            raise RuntimeError("no statistics")
        return 5 * MB + self.entries * ENTRY

    def tell_free(self) -> int:
        return self.free


def rows(count: int, side: int = 8, *, guided: bool = True) -> list[Any]:
    conditioning = SimpleNamespace(parts=())
    latents = torch.empty(1, 4, side, side)
    row = SimpleNamespace(
        guided=guided, conditioning=conditioning, latents=latents, inpainting=None, acting_controls=[], position=0
    )
    return [row] * count


def run(memory: Memory, known: PassMemory, sharing: Sequence[Any], measures: Sequence[str] = (), fails: bool = False) -> None:
    with known.watching(sharing, measures):
        memory.entries = sum(1 + row.guided for row in sharing)
        if fails:
            raise torch.OutOfMemoryError("CUDA out of memory.")


def made(free: int) -> tuple[Memory, PassMemory, list[float]]:
    memory, now = Memory(free), [0.0]
    return memory, PassMemory(memory, memory.tell_free, lambda: now[0]), now


def test_rows_share_a_pass_while_what_was_measured_says_that_they_fit() -> None:
    memory, known, now = made(free=100 * MB)
    assert known.count_fitting(rows(8), ()) == 8  # nothing is known
    run(memory, known, rows(1))
    assert known.count_fitting(rows(8), ()) == 4  # 90 % of 100 MB for 20 MB each
    assert known.count_fitting(rows(8, guided=False), ()) == 8
    assert known.count_fitting(rows(8, side=16), ()) == 8  # of another size nothing is known
    memory.free = 40 * MB
    assert known.count_fitting(rows(8), ()) == 4  # not asked again so soon
    now[0] = 2.0
    assert known.count_fitting(rows(8), ()) == 1
    memory.free, now[0] = 0, 4.0
    assert known.count_fitting(rows(8), ()) == 1  # running out has its own remedies


def test_a_steady_run_measures_once_and_a_pass_that_was_cut_again() -> None:
    memory, known, _ = made(free=100 * MB)
    for _ in range(3):
        run(memory, known, rows(4))
    assert memory.starts == 1
    assert known.count_fitting(rows(8), ()) == 4
    run(memory, known, rows(4))
    assert memory.starts == 2
    run(memory, known, rows(4), ["cpu_offload"])  # the weights come in the pass: its peak isn't that of the rows
    assert memory.starts == 2
    assert known.count_fitting(rows(8), ["cpu_offload"]) == 8


def test_after_a_shortage_fewer_rows_are_taken_to_fit_until_more_is_free() -> None:
    memory, known, now = made(free=1000 * MB)
    run(memory, known, rows(1))
    assert known.count_fitting(rows(8), ()) == 8
    for left in (7, 6):
        with pytest.raises(torch.OutOfMemoryError):
            run(memory, known, rows(left + 1), fails=True)
        assert known.count_fitting(rows(8), ()) == left
    run(memory, known, rows(6))  # a measurement doesn't undo it
    assert known.count_fitting(rows(8), ()) == 6
    memory.free, now[0] = 2000 * MB, 2.0
    assert known.count_fitting(rows(8), ()) == 8


def test_where_memory_can_not_be_measured_all_rows_fit() -> None:
    memory, known, _ = made(free=100 * MB)
    run(memory, known, rows(4))
    memory.broken = True
    run(memory, known, rows(5))
    assert known.count_fitting(rows(8), ()) == 8
    nothing = PassMemory(None, memory.tell_free)
    with pytest.raises(torch.OutOfMemoryError):
        run(memory, nothing, rows(4), fails=True)
    assert nothing.count_fitting(rows(8), ()) == 8


def test_the_process_meter_sees_what_a_call_takes_and_gives_back() -> None:
    meter = ProcessMeter()
    before = meter.start()
    torch.ones(64 * MB // 4)
    assert 60 * MB < meter.peak() - before < 100 * MB
    assert meter.start() < before + 30 * MB


def test_each_kind_of_device_has_its_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    def device(kind: str) -> Device:
        return Device(kind, 1, "a chip", torch.float32, channels_last=True, memory_total=2**33)

    held = {"allocated": 7, "peak": 12}
    assert meter_of(device("cuda")) is None  # without CUDA
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda index: held.update(reset=index))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index: held["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: held["peak"])
    meter = meter_of(device("cuda"))
    assert isinstance(meter, CudaMeter)
    assert (meter.start(), meter.peak(), held["reset"]) == (7, 12, 1)
    assert isinstance(meter_of(device("cpu")), ProcessMeter)
    assert meter_of(device("mps")) is None


def test_the_engine_runs_as_many_rows_at_once_as_fit(
    tiny_catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pictures, of which two fit: each step is two passes from the second on, and nothing is told of a shortage."""
    memory, hooks = Memory(45 * MB), Recorder()
    sizes: list[int] = []

    def note(entries: int) -> None:
        memory.entries = entries
        sizes.append(entries)

    monkeypatch.setattr(engine_module, "meter_of", lambda device: stand_in(memory))
    monkeypatch.setattr(ModelLoader, "free_memory", lambda loader: memory.free)
    device = Device("cpu", 0, "a processor", torch.float32, channels_last=False, memory_total=2**33)
    loader = ModelLoader(tiny_catalog, ModelStore(tmp_path), device)
    with loader.use("sd1", "text-to-image") as lease:
        lease.pipeline.unet.register_forward_pre_hook(lambda unet, inputs: note(len(inputs[0])))
    assert len(generate(loader, [request(seeds=(1, 2, 3, 4), steps=3)], hooks)[0]) == 4
    assert sizes == [8, 4, 4, 4, 4]
    assert hooks.warnings == []


def stand_in(memory: Memory) -> Meter:
    return memory
