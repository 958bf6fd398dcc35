"""The device and its dtype are found by measuring, and told as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import torch

from api.devices import DeviceUnavailable, _choose, fastest_dtype, main_memory, probe_device


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
