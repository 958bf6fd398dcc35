"""Headers are read without the weights, and every lie in one is an error in words."""

from __future__ import annotations

import json
import os
import pickle
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from api.model_files.header import HeaderError, TensorInfo, read_header
from tests.model_files.files import header_of, write_raw, write_sparse


def table(**changes: object) -> bytes:
    """The header of a file with one tensor, "a", of 8 bytes."""
    return json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}).encode()


def test_it_gives_the_tensors_and_the_metadata(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, file, metadata={"ss_tag": "cat"})
    header = read_header(file)
    assert header.tensors == {"a": TensorInfo("F32", (2, 3), 0, 24), "b": TensorInfo("BF16", (4,), 24, 32)}
    assert header.metadata == {"ss_tag": "cat"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"1234", "cut off"),
        (b"\xff" * 100, "no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"<!doctype html><title>Log in</title>", "a web page"),
        (b"GGUF\x03\x00\x00\x00" + bytes(40), "a GGUF file"),
        (b"PK\x03\x04" + bytes(40), "a pickle"),
        (pickle.dumps({"weights": [1.0] * 20}), "a pickle"),
        (pickle.dumps({"weights": [1.0] * 20}, protocol=2), "a pickle"),
        ((5).to_bytes(8, "little") + b"{1,2]", "no JSON"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "does not describe the tensor 'a'"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "cut off"),
        ((2).to_bytes(8, "little") + b"{}" + b"12", "should have 10 bytes and has 12"),
        ((8).to_bytes(8, "little") + b'{"\xff":{}}', "no JSON"),
    ],
)
def test_what_is_no_safetensors_file_is_told_apart(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(HeaderError, match=said):
        read_header(file)


def test_a_length_that_looks_like_a_pickle_s_start_is_a_length(tmp_path: Path) -> None:
    header = table().ljust(0x0280)
    assert write_raw(tmp_path / "x.safetensors", header, 8).read_bytes()[:2] == b"\x80\x02"
    assert read_header(tmp_path / "x.safetensors").tensors["a"].shape == (2,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [3]}, "does not fit its shape"),
        ({"shape": [2, -1, -1]}, "no valid size"),
        ({"shape": [2.0]}, "no valid size"),
        ({"shape": [True, 2]}, "no valid size"),
        ({"shape": [1 << 70, 0]}, "no valid size"),
        ({"shape": [1] * 100_000}, "no valid size"),
        ({"shape": "2"}, "no valid size"),
        ({"data_offsets": [8, 0]}, "does not fit its shape"),
        ({"data_offsets": [8, 16]}, "0 is its place"),
        ({"data_offsets": [0, 8, 16]}, "does not describe"),
        ({"data_offsets": 8}, "does not describe"),
        ({"dtype": "F31"}, "an unknown dtype"),
        ({"dtype": ["F32"]}, "an unknown dtype"),
        ({"shape": [4], "data_offsets": [0, 16]}, "cut off: it should have"),
    ],
)
def test_a_header_that_lies_about_a_tensor_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    file = write_raw(tmp_path / "x.safetensors", table(**changes), 8)
    with pytest.raises(HeaderError, match=said):
        read_header(file)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', "'b' begins"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "'a' twice"),
        (b'{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', "'dtype' twice"),
        (b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "no tensor can have"),
        (b'{"a\\u0000":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "no tensor can have"),
        (b'{"' + b"a" * 5000 + b'":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "no tensor can have"),
        (b'{"__metadata__":{"a":{"b":1}}}', "metadata is no table of texts"),
        (b'{"__metadata__":[]}', "metadata is no table of texts"),
        (b'{"a":NaN}', "the number NaN"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no JSON"),
        (b'{"a":' + b"9" * 100_000 + b"}", "no JSON"),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused(tmp_path: Path, header: bytes, said: str) -> None:
    file = write_raw(tmp_path / "x.safetensors", header, 8)
    with pytest.raises(HeaderError, match=said) as raised:
        read_header(file)
    assert len(str(raised.value)) < 300


def test_a_header_of_200_mb_is_not_read(tmp_path: Path) -> None:
    file = write_raw(tmp_path / "x.safetensors", b"{", 200_000_000, length=200_000_000)
    tracemalloc.start()
    with pytest.raises(HeaderError, match="at most 100,000,000 are read"):
        read_header(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_metadata_is_what_a_database_can_keep(tmp_path: Path) -> None:
    file = write_raw(tmp_path / "x.safetensors", b'{"__metadata__":{"a":"x\\u0000y\\ud800z"}}')
    assert read_header(file).metadata == {"a": "xy?z"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(HeaderError, match="no regular file"):
        read_header(tmp_path / "x.safetensors")


def test_a_file_that_is_gone_is_the_system_s_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "x.safetensors")


def test_the_header_of_a_file_of_7_gb_takes_20_ms(tmp_path: Path) -> None:
    shapes = {f"model.diffusion_model.output_blocks.{number}.attn1.to_q.weight": (1280, 1100) for number in range(2500)}
    file = write_sparse(tmp_path / "x.safetensors", header_of(shapes))
    assert file.stat().st_size > 7_000_000_000
    times = []
    for _ in range(5):
        started = time.process_time()
        assert len(read_header(file).tensors) == 2500
        times.append(time.process_time() - started)
    assert min(times) < 0.02
