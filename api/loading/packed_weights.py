"""AWQ and GPTQ checkpoints: several weights in one 32-bit number, unpacked into ordinary tensors when they are loaded.  [torch; no Django]

    X.qweight  GPTQ: (inputs · bits / 32, outputs), packed along the inputs     AWQ: (inputs, outputs · bits / 32), along the outputs
    X.qzeros   (groups, outputs · bits / 32)
    X.scales   (groups, outputs)
    X.g_idx    GPTQ: each input's group

A model takes as much memory as if it had never been quantised, and runs on every device without another package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, GenerationConfig

from api.catalog import ModelEntry
from api.loading.checkpoints import broken_error, load_complete
from api.loading.device_memory import bytes_in_dtype, classify_error
from api.model_files.header import TensorInfo
from api.model_files.quantization import Quantization

AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where the eight columns of one number are in it."""
PACKED = ("qweight", "qzeros", "scales", "g_idx")
LOCAL_ONLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_unpacked(
    model_class: Any, entry: ModelEntry, folder: Path, files: Sequence[Path], found: Quantization, dtype: torch.dtype
) -> Any:
    """`model_class`: one of transformers' Auto classes. Raises DarkroomError."""
    config = AutoConfig.from_pretrained(folder, **LOCAL_ONLY)
    del config.quantization_config
    own_class = model_class._model_mapping[type(config)]
    tensors = dict(unpacked_tensors(entry, files, found, dtype))
    model = load_complete(own_class, entry, None, config=config, state_dict=tensors, dtype=dtype)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def unpacked_tensors(
    entry: ModelEntry, files: Iterable[Path], found: Quantization, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a checkpoint by its name; one at a time is held twice."""
    for file in files:
        with safe_open(file, "pt") as stored:
            names = set(stored.keys())
            for name in sorted(names):
                module, _, kind = name.rpartition(".")
                if f"{module}.qweight" not in names or kind not in PACKED:
                    yield name, stored.get_tensor(name)
                elif kind == "qweight":
                    parts = {part: stored.get_tensor(f"{module}.{part}") for part in PACKED if f"{module}.{part}" in names}
                    yield f"{module}.weight", unpack_module(entry, module, parts, found).to(dtype)


def unpack_module(entry: ModelEntry, module: str, parts: dict[str, torch.Tensor], found: Quantization) -> torch.Tensor:
    """(outputs, inputs) float32. Raises DarkroomError for parts that don't fit together."""
    if missing := {"qzeros", "scales"} - parts.keys():
        raise broken_error(entry, f"its weights lack the tensor {module}.{min(missing)}")
    try:
        return unpack_awq(parts) if found.method == "awq" else unpack_gptq(parts, found)
    except (RuntimeError, IndexError, ZeroDivisionError) as error:
        if classify_error(error) == "oom":
            raise
        raise broken_error(entry, f"the tensors of {module} don't fit together") from error


def unpack_awq(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    order = torch.tensor(AWQ_ORDER)
    values, zeros = (unpack_bits(parts[name], 4)[..., order].flatten(1) for name in ("qweight", "qzeros"))
    groups = torch.arange(len(values)) // (len(values) // len(zeros))
    return scaled(values, zeros, parts["scales"], groups)


def unpack_gptq(parts: dict[str, torch.Tensor], found: Quantization) -> torch.Tensor:
    values = unpack_bits(parts["qweight"].T, found.bits).flatten(1).T
    zeros = unpack_bits(parts["qzeros"], found.bits).flatten(1)
    if found.values.get("checkpoint_format", "gptq") != "gptq_v2":
        zeros = zeros + 1  # the first format holds one less
    regular = torch.arange(len(values)) // (len(values) // len(zeros))
    return scaled(values, zeros, parts["scales"], parts.get("g_idx", regular).long())


def unpack_bits(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """(rows, columns) int32 → (rows, columns, 32 / bits), the lowest bits first."""
    return (packed[..., None] >> torch.arange(0, 32, bits, dtype=torch.int32)) & (2**bits - 1)


def scaled(values: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """`groups`: of each row of `values`. Returns (columns, rows)."""
    return ((values - zeros[groups]) * scales[groups].float()).T.contiguous()


def unpacked_bytes(tensors: Mapping[str, TensorInfo], dtype: torch.dtype, *, found: Quantization) -> int:
    """What the tensors of a file take once they are unpacked."""
    packed = {name for name in tensors if name.endswith(".qweight")}
    modules = {name.removesuffix("qweight") for name in packed}
    parts = {module + part for module in modules for part in PACKED}
    whole = sum(tensors[name].nbytes for name in packed) * 8 // int(found.bits) * dtype.itemsize
    return whole + bytes_in_dtype((tensor for name, tensor in tensors.items() if name not in parts), dtype)
