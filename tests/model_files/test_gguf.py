"""Headers of GGUF files: what a model is, and files that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

from api.model_files.gguf import STORAGES, read_any_header, read_gguf_header
from api.model_files.header import HeaderError
from api.model_files.identify import identify

NAMES = {
    "flux": "double_blocks.0.img_attn.norm.key_norm.scale",
    "sd3": "joint_blocks.0.x_block.attn.qkv.weight",
    "sdxl": "input_blocks.0.0.weight",
}


def write(file: Path, name: str, storage: str = "Q8_0", rows: int = 4, architecture: str = "flux") -> Path:
    """By the library that programs write such files with."""
    writer = GGUFWriter(file, architecture)
    writer.add_name("A model")
    writer.add_array("tokens", ["a", "b"])
    writer.add_array("numbers", [1, 2, 3])
    kind = GGMLQuantizationType[storage]
    values = np.random.default_rng(0).standard_normal((rows, 256)).astype(np.float32)
    writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("other.bias", np.zeros(7, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_every_storage_has_the_size_that_the_library_gives_it() -> None:
    known = {kind.value: (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType if kind.value in STORAGES}
    assert known == STORAGES


@pytest.mark.parametrize("storage", ["Q8_0", "Q4_0", "BF16", "F16"])
def test_tensors_and_texts_are_read(tmp_path: Path, storage: str) -> None:
    file = write(tmp_path / "a.gguf", NAMES["flux"], storage)
    header = read_any_header(file)
    tensor = header.tensors[NAMES["flux"]]
    assert (tensor.dtype, tensor.shape) == (storage, (4, 256))
    assert header.tensors["other.bias"].shape == (7,)
    assert header.metadata == {"general.architecture": "flux", "general.name": "A model"}
    values = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    stored = file.read_bytes()[header.begin + tensor.start : header.begin + tensor.end]
    assert stored == quants.quantize(values, GGMLQuantizationType[storage]).tobytes()


@pytest.mark.parametrize(
    ("family", "storage", "reason"),
    [
        ("flux", "Q8_0", ""),
        ("sd3", "Q5_1", ""),
        ("sdxl", "Q8_0", "It is a GGUF file (its architecture is 'flux'), of which only models of SD 3 and FLUX are used."),
    ],
)
def test_it_is_told_what_it_is(tmp_path: Path, family: str, storage: str, reason: str) -> None:
    identity = identify(read_any_header(write(tmp_path / "a.gguf", NAMES[family], storage)), "a.gguf")
    assert (identity.kind, identity.precision, identity.unusable) == ("denoiser", storage.lower(), reason)
    assert identity.parameters == 4 * 256 + 7


def test_a_language_model_is_named_by_its_architecture(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", "blk.0.attn_q.weight", architecture="llama")
    assert "(its architecture is 'llama')" in identify(read_any_header(file), file.name).unusable


def test_a_storage_that_is_not_computed_with_is_named(tmp_path: Path) -> None:
    content = header_bytes([(NAMES["flux"], (256, 4), 21, 0)]) + bytes(4 * 110)
    (tmp_path / "a.gguf").write_bytes(content)
    reason = identify(read_any_header(tmp_path / "a.gguf"), "a.gguf").unusable
    assert reason == "Its weights are stored as IQ3_S, which is not computed with; use a file in Q8_0, Q6_K, Q5_K or Q4_K."


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header_bytes(
    tensors: list[tuple[str, tuple[int, ...], int, int]], values: bytes = b"", count: int = 0, version: int = 3
) -> bytes:
    """Of `values`, with its `count`, and tensors of a name, axes as GGUF orders them, a storage and a place; filled to its alignment."""
    content = b"GGUF" + struct.pack("<IQQ", version, len(tensors), count) + values
    for name, axes, storage, place in tensors:
        content += text(name) + struct.pack("<I", len(axes)) + b"".join(struct.pack("<Q", axis) for axis in axes)
        content += struct.pack("<IQ", storage, place)
    return content + bytes(-len(content) % 32)


ONE = ("a", (4,), 0, 0)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is no GGUF file"),
    "another": (lambda: b"GGML" + bytes(99), "it is no GGUF file"),
    "old": (lambda: header_bytes([ONE], version=1) + bytes(16), "it is of GGUF's version 1"),
    "of many tensors": (lambda: b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "counts more tensors"),
    "cut off in the header": (lambda: header_bytes([ONE])[:30], "it is cut off"),
    "cut off": (lambda: header_bytes([ONE]) + bytes(15), "it is cut off: its tensors take 16 bytes and it has 15"),
    "of a long text": (lambda: header_bytes([ONE], text("k") + struct.pack("<IQ", 8, 2**40), 1), "a text of"),
    "of a long list": (lambda: header_bytes([ONE], text("k") + struct.pack("<IIQ", 9, 4, 2**60), 1), "it is cut off"),
    "of endless texts": (lambda: header_bytes([ONE], text("k") + struct.pack("<IIQ", 9, 8, 2**60), 1), "it is cut off"),
    "of lists in lists": (lambda: header_bytes([ONE], text("k") + struct.pack("<IIQ", 9, 9, 1), 1), "a value of the kind 9"),
    "of a strange value": (lambda: header_bytes([ONE], text("k") + struct.pack("<I", 99), 1), "a value of the kind 99"),
    "of one name twice": (lambda: header_bytes([ONE, ("a", (4,), 0, 32)]) + bytes(64), "has 'a' twice"),
    "without a name": (lambda: header_bytes([("", (4,), 0, 0)]) + bytes(64), "which no tensor can have"),
    "overlapping": (lambda: header_bytes([ONE, ("b", (4,), 0, 0)]) + bytes(64), "where it can't lie"),
    "beside its alignment": (lambda: header_bytes([("a", (4,), 0, 4)]) + bytes(64), "where it can't lie"),
    "of half a block": (lambda: header_bytes([("a", (33, 2), 8, 0)]) + bytes(99), "no blocks of Q8_0"),
    "of many axes": (lambda: header_bytes([("a", (1,) * 9, 0, 0)]) + bytes(99), "9 axes"),
    "of a strange storage": (lambda: header_bytes([("a", (4,), 77, 0)]) + bytes(99), "not known (77)"),
    "of a strange alignment": (
        lambda: header_bytes([ONE], text("general.alignment") + struct.pack("<II", 4, 0), 1) + bytes(99),
        "the alignment 0",
    ),
    "of large axes": (lambda: header_bytes([("a", (2**63, 2**63), 0, 0)]) + bytes(99), "it is cut off"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_header_that_lies_is_refused_by_a_sentence(tmp_path: Path, kind: str) -> None:
    make, reason = BAD[kind]
    (tmp_path / "a.gguf").write_bytes(make())
    with pytest.raises(HeaderError) as caught:
        read_gguf_header(tmp_path / "a.gguf")
    assert reason in str(caught.value)


def test_a_header_is_read_up_to_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "a.gguf").open("wb") as stream:
        stream.write(header_bytes([ONE], text("k") + struct.pack("<IIQ", 9, 4, 10**8), 1))
        stream.truncate(10**9)
    with pytest.raises(HeaderError, match="more than 32,000,000 bytes"):
        read_gguf_header(tmp_path / "a.gguf")
