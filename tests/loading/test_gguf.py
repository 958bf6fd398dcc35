"""Transformers in GGUF files give the pictures of the same weights unpacked, and take their packed size in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from api.catalog import ModelEntry
from api.catalog.toml_files import load_catalog
from api.devices import Device
from api.errors import DarkroomError
from api.images.backends.adapters import apply_adapters
from api.images.backends.lora_changes import Lora
from api.loading.device_memory import apply_measure, copy_weights, dtypes_of, weight_bytes
from api.loading.pipelines import build_pipeline, estimate_bytes
from tests.loading import originals
from tests.models.tiny import build_tiny_sd3

CPU = Device("cpu", 0, "CPU", torch.float32, False, 2**34)


def write_gguf(file: Path, tensors: originals.Tensors, storage: str, architecture: str = "sd3") -> Path:
    """As city96's converter does: matrices are packed, the rest stays in fp32."""
    kind = GGMLQuantizationType[storage]
    block, _ = GGML_BLOCKS[storage]
    writer = GGUFWriter(file, architecture)
    for name, tensor in tensors.items():
        values = tensor.float().contiguous().numpy()
        if values.ndim == 2 and values.shape[1] % block == 0:
            writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


GGML_BLOCKS = {"Q8_0": (32, 34), "Q4_0": (32, 18), "BF16": (1, 2)}


def unpacked(tensors: originals.Tensors, storage: str) -> originals.Tensors:
    kind = GGMLQuantizationType[storage]
    block, _ = GGML_BLOCKS[storage]
    return {
        name: torch.from_numpy(np.array(quants.dequantize(quants.quantize(tensor.numpy(), kind), kind))).reshape(tensor.shape)
        if tensor.ndim == 2 and tensor.shape[1] % block == 0
        else tensor
        for name, tensor in tensors.items()
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    build_tiny_sd3(root / "sd3")
    build_tiny_sd3(root / "base", seed=1)
    return root


@pytest.fixture(scope="module")
def transformer(folders: Path) -> originals.Tensors:
    return originals.sd3_transformer(originals.read(folders / "sd3", "transformer"))


def entry_of(file: Path, **fields: Any) -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", path=file, single_file=True, base="base", **fields)


def load(folders: Path, file: Path) -> Any:
    return build_pipeline(entry_of(file), file, CPU, folders / "base")


def picture(pipeline: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    size = {"height": 64, "width": 64, "max_sequence_length": 77}
    return pipeline("a red cat", num_inference_steps=2, generator=generator, output_type="pt", **size).images


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Decibels. Diffusers multiplies in fp16 where it unpacks, the library in fp32."""
    return float(-10 * torch.log10(((one - other) ** 2).mean() + 1e-12))


@pytest.mark.parametrize("prefix", ["", originals.UNET])
@pytest.mark.parametrize("storage", ["Q8_0", "Q4_0", "BF16"])
def test_the_picture_is_that_of_the_weights_unpacked(
    folders: Path, tmp_path: Path, transformer: originals.Tensors, storage: str, prefix: str
) -> None:
    packed = load(folders, write_gguf(tmp_path / "x.gguf", originals.prefixed(prefix, transformer), storage))
    plain = load(folders, originals.write(tmp_path / "x.safetensors", unpacked(transformer, storage)))
    assert psnr(picture(packed), picture(plain)) >= 60
    assert not any(tensor.is_meta for part in (packed.transformer, packed.vae) for tensor in part.parameters())


def test_it_takes_its_packed_size_in_memory(folders: Path, tmp_path: Path, transformer: originals.Tensors) -> None:
    file = write_gguf(tmp_path / "x.gguf", transformer, "Q4_0")
    packed, whole = load(folders, file), load(folders, originals.write(tmp_path / "x.safetensors", transformer))
    sizes = [weight_bytes(pipeline.transformer.transformer_blocks) for pipeline in (packed, whole)]
    assert sizes[0] < 0.2 * sizes[1]
    assert estimate_bytes(entry_of(file), file, CPU, folders / "base") == pytest.approx(weight_bytes(packed), rel=0.05)
    assert dtypes_of(packed)["transformer"] == torch.float32


def test_what_is_done_with_weights_leaves_packed_ones_whole(
    folders: Path, tmp_path: Path, transformer: originals.Tensors
) -> None:
    packed = load(folders, write_gguf(tmp_path / "x.gguf", transformer, "Q8_0"))
    before = picture(packed)
    copy_weights(packed)
    assert not apply_measure("fp8_storage", packed, CPU)
    packed.to(torch.device("cpu"))
    assert torch.equal(picture(packed), before)


def test_a_whole_checkpoint_may_be_packed(folders: Path, tmp_path: Path) -> None:
    """Text encoders are unpacked when they are loaded."""
    tensors = originals.sd3(folders / "sd3")
    packed = load(folders, write_gguf(tmp_path / "x.gguf", tensors, "Q8_0"))
    plain = load(folders, originals.write(tmp_path / "x.safetensors", unpacked(tensors, "Q8_0")))
    assert psnr(picture(packed), picture(plain)) >= 60


def test_a_table_of_the_catalog_may_name_one(folders: Path, tmp_path: Path, transformer: originals.Tensors) -> None:
    write_gguf(tmp_path / "flux-Q8_0.gguf", transformer, "Q8_0")
    (tmp_path / "catalog.toml").write_text('[models."mine"]\npath = "flux-Q8_0.gguf"\nbase = "stable-diffusion-3.5-medium"\n')
    entry = load_catalog(tmp_path / "catalog.toml").get("mine")
    assert (entry.single_file, entry.family) == (True, "sd3")
    assert entry.memory == (tmp_path / "flux-Q8_0.gguf").stat().st_size


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-64], "is damaged: it is cut off"),
        (lambda content: b"GGUF" + bytes(40), "version 0"),
        (
            lambda content: content.replace(
                b"joint_blocks.0.x_block.attn.qkv.weight", b"joint_blocks.0.x_block.attn.qkv.WEIGHT"
            ),
            "it lacks",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    folders: Path, tmp_path: Path, transformer: originals.Tensors, change: Any, said: str
) -> None:
    file = write_gguf(tmp_path / "x.gguf", transformer, "Q8_0")
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DarkroomError) as caught:
        load(folders, file)
    assert caught.value.status == 422
    assert said in caught.value.detail


def test_an_adapter_acts_on_packed_layers_as_on_plain_ones(
    folders: Path, tmp_path: Path, transformer: originals.Tensors
) -> None:
    name = "transformer.transformer_blocks.0.attn.to_q"
    generator = torch.Generator().manual_seed(3)
    factors = {f"{name}.lora_A.weight": (2, 32), f"{name}.lora_B.weight": (32, 2)}
    tensors = {key: torch.randn(shape, generator=generator) for key, shape in factors.items()}
    lora = Lora("bold", originals.write(tmp_path / "lora.safetensors", tensors), 1.0)
    packed = load(folders, write_gguf(tmp_path / "x.gguf", transformer, "Q8_0"))
    plain = load(folders, originals.write(tmp_path / "x.safetensors", unpacked(transformer, "Q8_0")))
    before = picture(packed)
    for pipeline in (packed, plain):
        assert apply_adapters(pipeline, [lora]) == []
    assert psnr(picture(packed), picture(plain)) >= 60
    assert psnr(picture(packed), before) < 50
    apply_adapters(packed, [])
    assert torch.equal(picture(packed), before)
