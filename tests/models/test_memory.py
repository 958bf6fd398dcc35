"""When memory runs out, one thing after another is done about it, and each is said. The errors are injected into real parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from api.catalog import Catalog
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.errors import DeviceFault
from api.loading.device_memory import MEASURES, classify_error, readable_size, weight_bytes
from api.model_loader import Lease, ModelLoader, OutOfMemory
from tests.models.shortages import CpuAsAccelerator, Shortage, make_pictures, tiny_catalog


@pytest.fixture(scope="module")
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return tiny_catalog(tmp_path_factory.mktemp("models"))


@pytest.fixture
def loader(catalog: Catalog, tmp_path: Path, device: Device) -> ModelLoader:
    return ModelLoader(catalog, ModelStore(tmp_path), device)


@pytest.fixture
def lease(loader: ModelLoader) -> Iterator[Lease]:
    with loader.use("a", "text-to-image") as lease:
        yield lease


def times(count: int) -> Callable[[tuple[Any, ...]], bool]:
    left = [count]

    def fails(inputs: tuple[Any, ...]) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return fails


def test_nothing_is_done_while_memory_suffices(loader: ModelLoader, lease: Lease) -> None:
    assert len(make_pictures(loader, lease, 4)) == 4
    assert (lease.notes, lease.measures) == ([], [])


def test_first_the_cache_is_emptied(loader: ModelLoader, lease: Lease) -> None:
    Shortage(lease.pipeline.unet, times(1))
    assert len(make_pictures(loader, lease, 4)) == 4
    assert lease.notes == ["Memory ran out; the cache was emptied."]


def test_then_other_models_are_evicted(loader: ModelLoader, lease: Lease) -> None:
    loader.load("b")
    Shortage(lease.pipeline.unet, times(2))
    make_pictures(loader, lease, 1)
    assert lease.notes[-1] == "Memory ran out; unloaded b."
    assert [model["id"] for model in loader.loaded()] == ["a"]


def test_then_the_batch_is_halved_until_it_fits_and_what_is_done_is_kept(loader: ModelLoader, lease: Lease) -> None:
    unet = Shortage(lease.pipeline.unet, lambda inputs: inputs[0].shape[0] > 2)
    assert len(make_pictures(loader, lease, 8)) == 8
    assert lease.notes[1:] == ["Memory ran out; at most 4 at a time.", "Memory ran out; at most 2 at a time."]
    assert unet.calls == 3 + 4
    assert lease.measures == []


def test_then_the_vae_is_sliced_and_tiled(loader: ModelLoader, lease: Lease) -> None:
    vae = lease.pipeline.vae
    Shortage(vae.decoder, lambda inputs: not vae.use_tiling)
    assert len(make_pictures(loader, lease, 2)) == 2
    assert lease.measures == ["vae_slicing", "vae_tiling"]
    assert "tiles" in lease.notes[-1]


def needs_slices(lease: Lease) -> Shortage:
    attention = lease.pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    return Shortage(lease.pipeline.unet, lambda inputs: "Sliced" not in type(attention.processor).__name__)


def test_attention_is_sliced_where_the_device_has_no_fused_attention(catalog: Catalog, tmp_path: Path, device: Device) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), dataclasses.replace(device, fused_attention=False))
    with loader.use("a", "text-to-image") as lease:
        needs_slices(lease)
        assert len(make_pictures(loader, lease, 1)) == 1
        assert lease.measures == ["attention_slicing"]


def test_fused_attention_is_never_replaced_by_slices(loader: ModelLoader, lease: Lease) -> None:
    needs_slices(lease)
    with pytest.raises(OutOfMemory):
        make_pictures(loader, lease, 2)
    assert lease.measures == []


def test_when_nothing_is_left_the_job_fails_as_out_of_memory(loader: ModelLoader, lease: Lease) -> None:
    Shortage(lease.pipeline.unet, lambda inputs: True)
    with pytest.raises(OutOfMemory, match="smaller picture") as caught:
        make_pictures(loader, lease, 2)
    assert (caught.value.code, caught.value.status) == ("out_of_memory", 507)
    assert lease.notes == ["Memory ran out; the cache was emptied.", "Memory ran out; at most 1 at a time."]


def test_measures_of_a_lease_end_with_it(loader: ModelLoader) -> None:
    with loader.use("a", "text-to-image") as lease:
        for name in ("vae_slicing", "vae_tiling", "attention_slicing"):
            assert lease.apply_temporary_measure(name) is True
            assert lease.apply_temporary_measure(name) is False
        vae, unet = lease.pipeline.vae, lease.pipeline.unet
        assert vae.use_slicing
        assert vae.use_tiling
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    assert not vae.use_slicing
    assert not vae.use_tiling
    assert "Sliced" not in type(attention.processor).__name__


def test_a_measure_that_does_not_apply_is_passed_over(loader: ModelLoader) -> None:
    with loader.use("flux", "text-to-image") as lease:
        assert lease.apply_temporary_measure("attention_slicing") is False
        assert lease.apply_temporary_measure("cpu_offload") is False


def test_measures_can_be_forced_by_setting(catalog: Catalog, tmp_path: Path, device: Device) -> None:
    forced = frozenset({"vae_tiling", "attention_slicing"})
    loader = ModelLoader(catalog, ModelStore(tmp_path), device, forced_measures=forced)
    with loader.use("a", "text-to-image") as lease:
        assert lease.pipeline.vae.use_tiling
        assert sorted(lease.measures) == sorted(forced)
        assert lease.notes == []
    assert lease.pipeline.vae.use_tiling
    assert sorted(loader.loaded()[0]["measures"]) == sorted(forced)


def test_a_forced_measure_that_does_not_exist_is_refused(catalog: Catalog, tmp_path: Path, device: Device) -> None:
    with pytest.raises(ValueError, match="Unknown memory measure magic"):
        ModelLoader(catalog, ModelStore(tmp_path), device, forced_measures=frozenset({"magic"}))


def test_an_ordinary_error_passes_the_ladder_at_once(loader: ModelLoader, lease: Lease) -> None:
    tries = 0
    with pytest.raises(KeyError):  # noqa: PT012
        for attempt in loader.retry_on_oom(lease, batch_size=1):
            with attempt:
                tries += 1
                raise KeyError("ordinary")
    assert tries == 1


def test_a_broken_device_passes_the_ladder_as_a_fault(loader: ModelLoader, lease: Lease) -> None:
    with pytest.raises(DeviceFault):  # noqa: PT012
        for attempt in loader.retry_on_oom(lease, batch_size=1):
            with attempt:
                raise RuntimeError("CUDA error: device-side assert triggered")


def test_memory_that_the_system_refuses_is_a_shortage_too(loader: ModelLoader, lease: Lease) -> None:
    with pytest.raises(OutOfMemory):  # noqa: PT012
        for attempt in loader.retry_on_oom(lease, batch_size=1):
            with attempt:
                torch.empty(10**15)


def test_the_failed_call_s_tensors_are_freed_before_the_next_try(loader: ModelLoader, lease: Lease) -> None:
    import weakref

    kept: list[Any] = []

    def fails() -> None:
        tensor = torch.zeros(10)
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError

    for attempt in loader.retry_on_oom(lease, batch_size=2):
        with attempt:
            if not kept:
                fails()
    assert kept[0]() is None


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "fault"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "fault"),
        (DeviceFault("gone"), "fault"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
        (ValueError("out of memory"), "error"),
    ],
)
def test_an_error_is_a_shortage_a_fault_or_ordinary(error: Exception, verdict: str) -> None:
    assert classify_error(error) == verdict


def test_the_cause_of_an_error_counts() -> None:
    wrapped = ValueError("could not decode")
    wrapped.__cause__ = torch.OutOfMemoryError()
    assert classify_error(wrapped) == "oom"


def test_every_measure_says_something() -> None:
    in_few_bits = {"fp8_storage", "int8_storage", "nf4_storage"}
    assert set(MEASURES) == {"vae_slicing", "vae_tiling", "attention_slicing", "cpu_offload", "group_offload"} | in_few_bits


@pytest.fixture
def accelerator(device: Device) -> Device:
    return CpuAsAccelerator(**{**vars(device), "type": "mps", "dtype": torch.bfloat16})


def test_on_an_accelerator_the_last_rung_offloads_to_main_memory(catalog: Catalog, tmp_path: Path, accelerator: Device) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), accelerator)
    with loader.use("a", "text-to-image") as lease:
        unet = lease.pipeline.unet
        Shortage(unet, lambda inputs: "cpu_offload" not in lease.measures)
        assert len(make_pictures(loader, lease, 1)) == 1
        assert lease.measures[-1] == "cpu_offload"
        assert "main memory" in lease.notes[-1]
        assert hasattr(lease.pipeline.vae, "_hf_hook")
    assert not hasattr(lease.pipeline.vae, "_hf_hook")


def test_a_model_over_the_budget_of_an_accelerator_is_offloaded_from_the_start(
    catalog: Catalog, tmp_path: Path, accelerator: Device
) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), accelerator, memory_limit=1000)
    for task in ("text-to-image", "image-to-image"):
        with loader.use("a", task) as lease:
            assert lease.measures == ["cpu_offload"]
            assert lease.notes == [MEASURES["cpu_offload"]]
            assert lease.pipeline._all_hooks
    with loader.use("a", "text-to-image") as lease:
        assert len(make_pictures(loader, lease, 1)) == 1
    largest = max(weight_bytes(part) for part in (lease.pipeline.unet, lease.pipeline.vae, lease.pipeline.text_encoder))
    assert loader.loaded()[0]["bytes"] == largest
    assert loader.unload("a")


def test_offloading_can_be_forced(catalog: Catalog, tmp_path: Path, accelerator: Device) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), accelerator, forced_measures=frozenset({"cpu_offload"}))
    with loader.use("a", "text-to-image") as lease:
        assert (lease.measures, lease.notes) == (["cpu_offload"], [])


def test_memory_that_runs_out_while_loading_is_made_by_evicting_others(
    catalog: Catalog, tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), device)
    loader.load("b")
    fails, load = times(1), AutoencoderKL.from_pretrained

    def load_or_fail(*inputs: Any, **options: Any) -> Any:
        if fails(inputs):
            raise torch.OutOfMemoryError
        return load(*inputs, **options)

    monkeypatch.setattr(AutoencoderKL, "from_pretrained", load_or_fail)
    loader.load("a")
    assert [model["id"] for model in loader.loaded()] == ["a"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_the_last_rung_offloads_to_main_memory(catalog: Catalog, tmp_path: Path) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), probe_device("cuda"))
    with loader.use("a", "text-to-image") as lease:
        unet = lease.pipeline.unet
        Shortage(unet, lambda inputs: not hasattr(unet, "_hf_hook"))
        assert len(make_pictures(loader, lease, 1)) == 1
        assert lease.measures[-1] == "cpu_offload"
    with loader.use("a", "text-to-image") as lease:
        assert lease.pipeline.unet.device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_a_model_over_the_budget_is_offloaded_from_the_start(catalog: Catalog, tmp_path: Path) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), probe_device("cuda"), memory_limit=1000)
    with loader.use("a", "text-to-image") as lease:
        assert len(make_pictures(loader, lease, 1)) == 1
        assert lease.measures == ["cpu_offload"]


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0.0 MB"), (21_720_000, "21.7 MB"), (999_000_000, "999.0 MB"), (10**9, "1.0 GB"), (4_265_000_000, "4.3 GB")],
)
def test_a_size_below_a_gigabyte_is_told_in_megabytes(size: int, told: str) -> None:
    assert readable_size(size) == told


def test_the_log_tells_how_large_a_loaded_model_is(loader: ModelLoader, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="api.model_loader"):
        loader.load("a")
    [model] = loader.loaded()
    assert f"loaded a: {model['bytes'] / 1e6:.1f} MB of weights" in caplog.text
