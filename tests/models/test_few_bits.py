"""Weights kept in int8 by torchao and in nf4 by bitsandbytes, on a processor: pictures, bytes, adapters, offloading, what fits."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import Catalog, ModelEntry
from api.catalog import storages as storage_table
from api.catalog.single_files import why_not
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.adapters import apply_adapters, remove_adapters
from api.images.backends.lora_changes import Lora
from api.loading.device_memory import MEASURES, modules_of, sizes_stored, weight_bytes
from api.loading.few_bits import is_packed
from api.loading.oom_retry import OomRetry
from api.model_files import quantization
from api.model_loader import ModelLoader, OutOfMemory
from tests.loading.originals import write
from tests.models.shortages import PROMPT, CpuAsAccelerator, make_pictures
from tests.models.tiny import build_tiny_flux, build_tiny_sd

SD, FLUX = "sd", "flux"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("models")
    paths = {SD: build_tiny_sd(folder / SD), FLUX: build_tiny_flux(folder / FLUX, width=64)}  # blocks of nf4 are 64 weights
    return Catalog({name: ModelEntry(id=name, name=name.upper(), path=path) for name, path in paths.items()}, {})


def loader_of(catalog: Catalog, folder: Path, kind: str = "cpu", *, storage: str = "", **options: Any) -> ModelLoader:
    """`kind`: what the processor is taken for."""
    entries = {name: dataclasses.replace(entry, storage=storage) for name, entry in catalog.models.items()}
    device: Device = dataclasses.replace(probe_device("cpu"), dtype=torch.float32)
    if kind != "cpu":
        device = AsGpu(**{**vars(device), "type": kind, "dtype": torch.bfloat16})
    return ModelLoader(Catalog(entries, {}), ModelStore(folder), device, **options)


class AsGpu(CpuAsAccelerator):
    def free_memory(self) -> int:
        return self.memory_total

    def used_memory(self) -> int:
        return 0


def draw(pipeline: Any) -> torch.Tensor:
    options = {**PROMPT, "num_inference_steps": 2, "generator": torch.Generator().manual_seed(1), "output_type": "pt"}
    return pipeline(**options).images.float()  # type: ignore[no-any-return]


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * math.log10(float(((one - other) ** 2).mean()) + 1e-12)


@pytest.mark.parametrize(
    ("model", "storage", "decibels", "share"),
    [(SD, "int8", 65, 0.75), (SD, "nf4", 50, 0.92), (FLUX, "int8", 60, 0.3), (FLUX, "nf4", 40, 0.2)],
)
def test_an_entry_s_weights_are_kept_so_and_its_pictures_stay_near(
    catalog: Catalog, tmp_path: Path, model: str, storage: str, decibels: float, share: float
) -> None:
    with loader_of(catalog, tmp_path).use(model, "text-to-image") as lease:
        expected, whole = draw(lease.pipeline), modules_of(lease.pipeline)
        computed = dict(zip(whole, sizes_stored(lease.pipeline, f"{storage}_storage"), strict=True))
    loader = loader_of(catalog, tmp_path, storage=storage)
    with loader.use(model, "text-to-image") as lease:
        parts, denoiser = modules_of(lease.pipeline), "unet" if model == SD else "transformer"
        assert (lease.measures, lease.notes) == ([f"{storage}_storage"], [])
        assert {name: weight_bytes(part) for name, part in parts.items()} == computed
        assert loader.loaded()[0]["bytes"] == sum(computed.values())
        assert computed[denoiser] < share * weight_bytes(whole[denoiser])
        for name in ("vae", "text_encoder"):
            assert computed[name] == weight_bytes(whole[name])
        assert decibels < psnr(draw(lease.pipeline), expected) < 115
        assert set(loader.loaded()[0]["dtypes"].values()) == {"float32"}
        if model == FLUX:  # T5 expects one of its layers to have numbers that it can cast to
            assert computed["text_encoder_2"] < weight_bytes(whole["text_encoder_2"])
            feed_forward = parts["text_encoder_2"].encoder.block[0].layer[1].DenseReluDense
            assert (is_packed(feed_forward.wi.weight), is_packed(feed_forward.wo.weight)) == (storage == "int8", False)
    assert loader.unload(model)


@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_an_adapter_acts_beside_packed_layers_and_leaves_the_picture_as_it_was(
    catalog: Catalog, tmp_path: Path, storage: str
) -> None:
    name = "transformer.single_transformer_blocks.0.proj_out"
    generator = torch.Generator().manual_seed(3)
    factors = {f"{name}.lora_A.weight": (2, 320), f"{name}.lora_B.weight": (64, 2)}
    low_rank = write(
        tmp_path / "low.safetensors", {key: 5 * torch.randn(size, generator=generator) for key, size in factors.items()}
    )
    difference = write(tmp_path / "full.safetensors", {f"{name}.diff": torch.ones(64, 320)})
    pictures = []
    for kept in ("", storage):
        with loader_of(catalog, tmp_path, storage=kept).use(FLUX, "text-to-image") as lease:
            before = draw(lease.pipeline)
            assert apply_adapters(lease.pipeline, [Lora("bold", low_rank, 1.0)]) == []
            pictures.append(draw(lease.pipeline))
            assert psnr(pictures[-1], before) < 40
            remove_adapters(lease.pipeline)
            assert torch.equal(draw(lease.pipeline), before)
            if kept:
                with pytest.raises(DarkroomError, match="the model's are quantised") as caught:
                    apply_adapters(lease.pipeline, [Lora("full", difference, 1.0)])
                assert (caught.value.code, caught.value.status, caught.value.field) == ("lora_mismatch", 400, "loras")
                assert torch.equal(draw(lease.pipeline), before)
    assert psnr(*pictures) > 30


@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_packed_parts_are_brought_to_the_device_one_at_a_time(catalog: Catalog, tmp_path: Path, storage: str) -> None:
    with loader_of(catalog, tmp_path, "cuda", storage=storage).use(FLUX, "text-to-image") as lease:
        assert lease.measures == [f"{storage}_storage"]
        sizes = [weight_bytes(part) for part in modules_of(lease.pipeline).values()]
        expected = draw(lease.pipeline)
    loader = loader_of(catalog, tmp_path, "cuda", storage=storage, memory_limit=sum(sizes) - 1)
    with loader.use(FLUX, "text-to-image") as lease:
        assert (lease.measures, lease.notes) == ([f"{storage}_storage", "cpu_offload"], [MEASURES["cpu_offload"]])
        assert loader.loaded()[0]["bytes"] == max(sizes)
        assert torch.equal(draw(lease.pipeline), expected)
    assert loader.unload(FLUX)


def test_what_is_too_large_in_int8_comes_layer_by_layer_and_in_nf4_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    """bitsandbytes' scales don't travel with single layers."""
    loader = loader_of(catalog, tmp_path, "cuda", storage="int8", memory_limit=1000)
    with loader.use(FLUX, "text-to-image") as lease:
        assert lease.measures == ["int8_storage", "group_offload"]
        assert len(make_pictures(loader, lease, 1)) == 1
    loader = loader_of(catalog, tmp_path, "cuda", storage="nf4", memory_limit=1000)
    with pytest.raises(OutOfMemory, match="FLUX needs"), loader.use(FLUX, "text-to-image"):
        pass


LADDER = [
    ("int8", set(), (), ["int8_storage", "cpu_offload"]),
    ("int8", set(), ("int8_storage", "fp8_storage"), ["nf4_storage", "cpu_offload"]),
    ("fp8", {"torchao"}, (), ["fp8_storage", "cpu_offload"]),
    ("nf4", set(), (), ["nf4_storage", "cpu_offload"]),
    ("nf4", {"bitsandbytes"}, (), ["fp8_storage", "group_offload"]),
    ("nf4", set(), ("nf4_storage",), ["fp8_storage", "group_offload"]),
    ("nf4", set(), ("nf4_storage", "fp8_storage"), ["group_offload"]),
]


@pytest.mark.parametrize(("limit", "missing", "forbidden", "measures"), LADDER)
def test_where_one_part_is_too_large_the_exactest_that_fits_is_taken_and_said(
    catalog: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    missing: set[str],
    forbidden: tuple[str, ...],
    measures: list[str],
) -> None:
    """`limit`: of the device, what the largest part takes in that storage. A measure that is forbidden isn't taken by a shortage either."""
    with loader_of(catalog, tmp_path, "cuda").use(FLUX, "text-to-image") as lease:
        largest = max(sizes_stored(lease.pipeline, f"{limit}_storage"))
    found = storage_table.find_spec
    monkeypatch.setattr(storage_table, "find_spec", lambda package: None if package in missing else found(package))
    loader = loader_of(catalog, tmp_path, "cuda", memory_limit=largest, forbidden_measures=frozenset(forbidden))
    with loader.use(FLUX, "text-to-image") as lease:
        assert lease.measures == measures
        assert lease.notes == [MEASURES[name] for name in measures]
        assert len(make_pictures(loader, lease, 1)) == 1
        assert not OomRetry(lease, 1, list, forbidden={"vae_tiling"})._apply("vae_tiling")


def test_a_missing_package_is_told_before_anything_is_loaded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_table, "find_spec", lambda package: None)
    line = "in nf4, which needs the package bitsandbytes: .venv/bin/pip install bitsandbytes=="
    for options in ({"storage": "nf4"}, {"forced_measures": frozenset({"nf4_storage"})}):
        with (
            pytest.raises(DarkroomError, match=line) as caught,
            loader_of(catalog, tmp_path, **options).use(SD, "text-to-image"),
        ):
            pass
        assert caught.value.code == "missing_package"
    entry = dataclasses.replace(catalog.models[SD], storage="int8")
    assert why_not(entry).startswith("its `storage` is int8, which needs the package torchao: .venv/bin/pip install torchao==")
    assert why_not(dataclasses.replace(entry, storage="fp8")) == ""


QUANTIZED_PARTS = [
    ({"quant_method": "gptq", "bits": 4}, set(), "quantised by gptq, which is not read in a pipeline. Or take the model"),
    (
        {"load_in_4bit": True},
        {"bitsandbytes"},
        "the package bitsandbytes and a CUDA device: .venv/bin/pip install bitsandbytes. Or take",
    ),
    (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        set(),
        "on this cpu device: the weights of its transformer are quantised by",
    ),
]


@pytest.mark.parametrize(("config", "missing", "said"), QUANTIZED_PARTS)
def test_a_pipeline_whose_parts_are_quantised_already_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], missing: set[str], said: str
) -> None:
    file = build_tiny_flux(tmp_path / "flux", width=64) / "transformer" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": config}))
    monkeypatch.setattr(quantization, "find_spec", lambda package: None if package in missing else object())
    entry = ModelEntry(id=FLUX, name="FLUX", path=tmp_path / "flux")
    loader = loader_of(Catalog({FLUX: entry}, {}), tmp_path)
    with pytest.raises(DarkroomError) as caught, loader.use(FLUX, "text-to-image"):
        pass
    assert (caught.value.code, caught.value.status) == ("unsupported_checkpoint", 422)
    assert said in caught.value.detail
    assert bool(why_not(entry)) == (said in f"{why_not(entry)}.")  # of devices a catalog says nothing


def test_where_the_device_can_t_the_job_is_told_and_an_entry_s_storage_counts_before_the_setting_s(
    catalog: Catalog, tmp_path: Path
) -> None:
    with loader_of(catalog, tmp_path, "mps", storage="int8").use(SD, "text-to-image") as lease:
        assert (lease.measures, lease.notes[0][:36]) == ([], "The weights of SD are not kept in in")
    loader = loader_of(catalog, tmp_path, storage="int8", forced_measures=frozenset({"fp8_storage", "vae_tiling"}))
    with loader.use(FLUX, "text-to-image") as lease:
        assert lease.measures == ["int8_storage", "vae_tiling"]
