"""Every storage of weights with every family, in diffusers' folders and in single files: it loads, its pictures stay near those of the
whole weights, and a LoRA leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import Catalog, ModelEntry
from api.catalog.storages import STORAGES, measure_of
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.images.backends.adapters import apply_adapters, remove_adapters
from api.images.backends.lora_changes import Lora
from api.loading.device_memory import modules_of
from api.loading.few_bits import DENOISERS, is_packed, plain_tensors
from api.loading.single_files import renaming
from api.model_loader import ModelLoader
from tests.loading import flux_originals, originals
from tests.loading.test_gguf import psnr, write_gguf
from tests.models.tiny import build_tiny_flux, build_tiny_sd, build_tiny_sd3, build_tiny_sdxl
from tests.models.tiny_qwen import build_tiny_qwen_image, build_tiny_z_image

WIDTH = 64
"""Of FLUX: nf4 shares a scale between 64 weights."""
FOLDERS: dict[str, Callable[..., Path]] = {
    "sd1": build_tiny_sd,
    "sdxl": build_tiny_sdxl,
    "sd3": build_tiny_sd3,
    "flux": lambda folder: build_tiny_flux(folder, width=WIDTH),
    "qwen-image": build_tiny_qwen_image,
    "z-image": build_tiny_z_image,
}
WHOLE = {"sd1": originals.sd1, "sdxl": originals.sdxl, "sd3": originals.sd3, "flux": flux_originals.flux}
ALONE = {"sd3": originals.sd3_transformer, "flux": flux_originals.flux_transformer}
MODELS = [
    *(f"{family} folder" for family in ("sdxl", "sd3", "qwen-image", "z-image")),
    *(f"{family} file" for family in WHOLE),
    *(f"{family} alone" for family in ALONE),
]
PACKED = ["sd3 gguf", "flux gguf"]
ENCODERS = {"sd3 gguf": "text_encoder_3", "flux gguf": "text_encoder_2"}
NEAR = {"fp8": 40, "int8": 60, "nf4": 36}
"""Decibels to the picture of the whole weights."""
EQUAL = 119.9


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelEntry]:
    root = tmp_path_factory.mktemp("models")
    found: dict[str, ModelEntry] = {}
    for family, build in FOLDERS.items():
        found[f"{family} folder"] = ModelEntry(id=family, name=family, path=build(root / family))
    for family, original in WHOLE.items():
        file = originals.write(root / f"{family}.safetensors", original(root / family))
        found[f"{family} file"] = ModelEntry(id="file", name=family, path=file, single_file=True, base=family)
    for family, original in ALONE.items():
        tensors = original(originals.read(root / family, "transformer"))
        file = originals.write(root / f"{family}-alone.safetensors", tensors)
        found[f"{family} alone"] = ModelEntry(id="file", name=family, path=file, single_file=True, base=family)
        file = write_gguf(root / f"{family}.gguf", tensors, "Q8_0", family)
        found[f"{family} gguf"] = ModelEntry(id="file", name=family, path=file, single_file=True, base=family)
    return found


@pytest.fixture(autouse=True)
def flux_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = flux_originals.conversion_at(WIDTH)
    monkeypatch.setitem(renaming.CONVERSIONS, "FluxTransformer2DModel", lambda tensors, config: convert(dict(tensors)))


def loader_of(entries: dict[str, ModelEntry], folder: Path, model: str, storage: str) -> ModelLoader:
    """`model` has the id "wanted" there."""
    folders = {one.id: one for one in entries.values() if not one.single_file}
    wanted = dataclasses.replace(entries[model], id="wanted", storage=storage)
    device = dataclasses.replace(probe_device("cpu"), dtype=torch.float32)
    return ModelLoader(Catalog({**folders, wanted.id: wanted}, {}), ModelStore(folder), device)


def draw(pipeline: Any) -> torch.Tensor:
    options = {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 2}
    made = pipeline(**options, generator=torch.Generator().manual_seed(1), output_type="pt").images
    return made.float()  # type: ignore[no-any-return]


def held(pipeline: Any) -> list[torch.Tensor]:
    """All numbers of the model as they are kept, with the scales of packed ones."""
    parts = modules_of(pipeline).values()
    return [tensor for part in parts for one in (*part.parameters(), *part.buffers()) for tensor in plain_tensors(one)]


def write_lora(pipeline: Any, file: Path) -> Lora:
    """For every linear layer of the denoiser."""
    [name] = set(DENOISERS) & modules_of(pipeline).keys()
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for path, layer in getattr(pipeline, name).named_modules():
        if isinstance(layer, torch.nn.Linear):
            tensors[f"{name}.{path}.lora_A.weight"] = 0.2 * torch.randn(2, layer.in_features, generator=generator)
            tensors[f"{name}.{path}.lora_B.weight"] = 0.2 * torch.randn(layer.out_features, 2, generator=generator)
    return Lora("bold", originals.write(file, tensors), 1.0)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_in_each_storage(entries: dict[str, ModelEntry], tmp_path: Path, model: str) -> None:
    pictures: dict[str, torch.Tensor] = {}
    for storage in ("", *STORAGES):
        loader = loader_of(entries, tmp_path, model, storage)
        with loader.use("wanted", "text-to-image") as lease:
            assert (lease.notes, lease.measures) == ([], [measure_of(storage)] if storage else [])
            pictures[storage], pictures[f"{storage}+lora"] = drawn_without_and_with_a_lora(lease.pipeline, tmp_path)
        assert loader.unload("wanted")
    for storage, decibels in NEAR.items():
        assert decibels < psnr(pictures[storage], pictures[""]) < EQUAL
        assert decibels - 5 < psnr(pictures[f"{storage}+lora"], pictures["+lora"])


@pytest.mark.parametrize("model", PACKED)
def test_beside_a_gguf_the_text_encoders_are_kept_so(entries: dict[str, ModelEntry], tmp_path: Path, model: str) -> None:
    """fp8 is of the denoiser alone, and says that it is packed."""
    pictures: dict[str, torch.Tensor] = {}
    for storage in ("", *STORAGES):
        loader = loader_of(entries, tmp_path, model, storage)
        with loader.use("wanted", "text-to-image") as lease:
            is_stored = storage in ("int8", "nf4")
            assert lease.measures == ([measure_of(storage)] if is_stored else [])
            said = f"The weights of {lease.entry.name} are not kept in fp8: "
            assert [note[: len(said)] for note in lease.notes] == ([said] if storage == "fp8" else [])
            parts = modules_of(lease.pipeline).items()
            assert {name for name, part in parts if any(map(is_packed, part.parameters()))} == {
                "transformer",
                *([ENCODERS[model]] if is_stored else []),
            }
            pictures[storage], _ = drawn_without_and_with_a_lora(lease.pipeline, tmp_path)
    assert torch.equal(pictures["fp8"], pictures[""])
    assert all(NEAR[storage] < psnr(pictures[storage], pictures[""]) < EQUAL for storage in ("int8", "nf4"))


def drawn_without_and_with_a_lora(pipeline: Any, folder: Path) -> list[torch.Tensor]:
    """And not a bit of the model is another afterwards."""
    assert not any(tensor.is_meta for tensor in held(pipeline))
    plain = draw(pipeline)
    before = [tensor.clone() for tensor in held(pipeline)]  # at its first call, bitsandbytes orders nf4 for the processor
    assert apply_adapters(pipeline, [write_lora(pipeline, folder / "lora.safetensors")]) == []
    changed = draw(pipeline)
    assert psnr(changed, plain) < 60
    remove_adapters(pipeline)
    assert all(torch.equal(one, other) for one, other in zip(held(pipeline), before, strict=True))
    assert torch.equal(draw(pipeline), plain)
    return [plain, changed]
