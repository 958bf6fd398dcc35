"""The device and its dtype, by what a CUDA chip supports and else by measuring; told as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from api.devices import DeviceUnavailable, _choose, cuda_device, fastest_dtype, main_memory, probe_device


def timings(single: float | None, bf16: float | None, fp16: float | None) -> dict[torch.dtype, float | None]:
    return {torch.float32: single, torch.bfloat16: bf16, torch.float16: fp16}


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (timings(10, 3, 3.2), torch.float16),  # about as fast: the one with more mantissa
        (timings(10, 3, 4), torch.bfloat16),
        (timings(10, 3, None), torch.bfloat16),
        (timings(10, 9, 9), torch.float32),  # not clearly faster
        (timings(10, 40, 20), torch.float32),
        (timings(10, None, None), torch.float32),
        (timings(None, 3, 9), torch.bfloat16),
    ],
)
def test_the_dtype_is_the_fastest_that_is_clearly_faster(
    milliseconds: dict[torch.dtype, float | None], expected: torch.dtype
) -> None:
    assert fastest_dtype(milliseconds) == expected


HALF, BRAIN = torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("name", "capability", "half_dtypes"),
    [
        ("Tesla M40", (5, 2), set()),
        ("Tesla P100-PCIE-16GB", (6, 0), {HALF}),
        ("NVIDIA GeForce GTX 1080", (6, 1), set()),  # a sixty-fourth of fp32's rate
        ("Tesla V100-SXM2-16GB", (7, 0), {HALF}),
        ("Tesla T4", (7, 5), {HALF}),
        ("Quadro RTX 6000", (7, 5), {HALF}),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), set()),  # NaN in fp16
        ("Quadro T1000", (7, 5), set()),
        ("NVIDIA A100-SXM4-80GB", (8, 0), {HALF, BRAIN}),
        ("NVIDIA GeForce RTX 3090", (8, 6), {HALF, BRAIN}),
        ("NVIDIA GeForce RTX 4090", (8, 9), {HALF, BRAIN}),
        ("NVIDIA H100 80GB HBM3", (9, 0), {HALF, BRAIN}),
        ("NVIDIA H200", (9, 0), {HALF, BRAIN}),
        ("NVIDIA GeForce RTX 5090", (12, 0), {HALF, BRAIN}),
    ],
)
def test_on_cuda_the_dtype_follows_from_the_chip(name: str, capability: tuple[int, int], half_dtypes: set[torch.dtype]) -> None:
    properties = SimpleNamespace(name=name, major=capability[0], minor=capability[1], total_memory=2**34)
    device = cuda_device(0, properties)
    assert device.half_dtypes == half_dtypes
    assert device.dtype == (HALF if half_dtypes else torch.float32)
    assert device.runs_in_slow_fp32 == (not half_dtypes)
    assert (device.is_fast(HALF), device.is_fast(BRAIN)) == (HALF in half_dtypes, BRAIN in half_dtypes)
    assert (device.type, device.name, device.memory_total) == ("cuda", name, 2**34)


def test_cuda_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch hides what the arithmetic takes: an H200 was timed at 0.356, 0.353 and 0.357 ms, and ran in fp32."""
    properties = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=2**37)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    device = probe_device.__wrapped__("cuda")
    assert (device.dtype, device.probe, device.fused_attention) == (HALF, {}, True)


def test_a_cpu_in_fp32_is_nothing_to_warn_of() -> None:
    assert not dataclasses.replace(probe_device("cpu"), dtype=torch.float32).runs_in_slow_fp32


def test_the_cpu_is_probed_once_a_process_with_every_dtype() -> None:
    device = probe_device("cpu")
    assert probe_device("cpu") is device
    assert set(device.probe) == {"float32", "bfloat16", "float16"}
    assert device.probe["float32"] is not None
    assert device.dtype in (torch.float32, torch.bfloat16, torch.float16)
    assert device.is_fast(device.dtype)


def test_probing_leaves_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    probe_device.__wrapped__("cpu")
    assert torch.get_num_threads() == threads


def test_auto_takes_the_best_device_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert probe_device("auto").type == best


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(DeviceUnavailable, match="DEVICE is cuda"):
        probe_device("cuda")


def test_memory_is_told_in_bytes() -> None:
    device = probe_device("cpu")
    assert 0 < device.free_memory() <= device.memory_total
    assert device.used_memory() > 10_000_000


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300000000\n")
    assert main_memory(tmp_path) == (2_000_000_000, 800_000_000)


def test_without_a_container_s_limit_the_machine_s_memory_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert main_memory(tmp_path)[0] == psutil.virtual_memory().total


def test_the_description_is_json_with_what_the_status_shows() -> None:
    described = json.loads(json.dumps(probe_device("cpu").describe()))
    wanted = {"pytorch_version", "cuda_available", "cuda_version", "device_count", "devices", "cpu", "memory", "dtype", "probe"}
    assert wanted <= set(described)


def test_one_of_several_devices_is_chosen_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [_choose("cuda"), _choose("cuda:1")] == [("cuda", 0), ("cuda", 1)]
    with pytest.raises(DeviceUnavailable, match="DEVICE is cuda:2"):
        _choose("cuda:2")
