"""Writes a tiny checkpoint again in the published form of AWQ, GPTQ or fp8, and says which weights its tensors stand for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GROUP = 16
AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
"""The column that each four bits of a number hold, the lowest first."""
FP8_BLOCK = 32

Tensors = dict[str, torch.Tensor]


def requantize(source: Path, target: Path, config: Mapping[str, Any]) -> Tensors:
    """`config`: the quantization_config. Returns the tensors of an equal model without quantisation, by name."""
    target.mkdir()
    for file in source.glob("*.json"):
        shutil.copyfile(file, target / file.name)
    written = {**json.loads((source / "config.json").read_text()), "quantization_config": dict(config)}
    (target / "config.json").write_text(json.dumps(written))
    plain, packed = load_file(source / "model.safetensors"), {}
    for name, weight in list(plain.items()):
        if not name.endswith("_proj.weight"):
            packed[name] = weight
            continue
        parts, plain[name] = quantize(weight, config)
        packed |= {f"{name.removesuffix('weight')}{part}": tensor.contiguous() for part, tensor in parts.items()}
    save_file(packed, target / "model.safetensors", metadata={"format": "pt"})
    return plain


def quantize(weight: torch.Tensor, config: Mapping[str, Any]) -> tuple[Tensors, torch.Tensor]:
    """`weight`: (outputs, inputs). Returns the tensors in a file, and the weight that they stand for."""
    if config["quant_method"] == "fp8":
        return quantize_fp8(weight)
    bits, inputs = config["bits"], weight.shape[1]
    groups = torch.arange(inputs) // GROUP
    if config.get("desc_act"):
        groups = groups[torch.randperm(inputs, generator=torch.Generator().manual_seed(1))]
    values, zeros, scales = round_groups(weight.T.float(), groups, bits)
    stands_for = ((values - zeros[groups]) * scales[groups].float()).T
    if config["quant_method"] == "awq":
        packed = {"qweight": pack(values[:, awq_columns(values)], 4), "qzeros": pack(zeros[:, awq_columns(zeros)], 4)}
        return {**packed, "scales": scales}, stands_for
    stored = zeros if config.get("checkpoint_format") == "gptq_v2" else zeros - 1
    packed = {"qweight": pack(values.T, bits).T, "qzeros": pack(stored, bits), "g_idx": groups.int()}
    return {**packed, "scales": scales}, stands_for


def round_groups(rows: torch.Tensor, groups: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values of each row and column, and each group's zeros (at least 1) and scales."""
    zeros, scales, most = [], [], 2**bits - 1
    for group in range(int(groups.max()) + 1):
        mine = rows[groups == group]
        low, high = mine.min(0).values.clamp(max=0), mine.max(0).values.clamp(min=0)
        scales.append(((high - low) / (most - 1)).clamp(min=1e-4).half())
        zeros.append((-low / scales[-1].float()).round().clamp(1, most))
    zero, scale = torch.stack(zeros), torch.stack(scales)
    values = (rows / scale[groups].float() + zero[groups]).round().clamp(0, most)
    return values.int(), zero.int(), scale


def awq_columns(values: torch.Tensor) -> list[int]:
    return [start + column for start in range(0, values.shape[1], 8) for column in AWQ_COLUMNS]


def pack(values: torch.Tensor, bits: int) -> torch.Tensor:
    """(rows, columns) → (rows, columns · bits / 32) int32, by Python's own integers."""
    each = 32 // bits
    numbers = [
        [
            sum(value << (bits * place) for place, value in enumerate(row[start : start + each]))
            for start in range(0, len(row), each)
        ]
        for row in values.tolist()
    ]
    return torch.tensor(numbers, dtype=torch.int64).to(torch.int32)


def quantize_fp8(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    rows, columns = (-(-size // FP8_BLOCK) for size in weight.shape)
    scales = torch.ones(rows, columns)
    stands_for, stored = torch.zeros_like(weight), torch.zeros_like(weight)
    for row in range(rows):
        for column in range(columns):
            place = (slice(row * FP8_BLOCK, (row + 1) * FP8_BLOCK), slice(column * FP8_BLOCK, (column + 1) * FP8_BLOCK))
            scales[row, column] = weight[place].abs().max() / 448
            stored[place] = (weight[place] / scales[row, column]).to(torch.float8_e4m3fn).float()
            stands_for[place] = stored[place] * scales[row, column]
    return {"weight": stored.to(torch.float8_e4m3fn), "weight_scale_inv": scales}, stands_for
