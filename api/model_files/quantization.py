"""How a checkpoint's weights were quantised, by its config.json, and why they can't be loaded here. No torch, no Django."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

UNPACKED = ("awq", "gptq")
"""Methods whose weights are unpacked when they are loaded, on every device: api/loading/packed_weights.py."""
UNPACKED_BY_TRANSFORMERS = ("fp8",)
"""Methods that transformers itself unpacks where the device has no kernels for them."""
PACKAGES = {"compressed-tensors": "compressed_tensors", "bitsandbytes": "bitsandbytes", "torchao": "torchao"}
"""Methods that transformers loads with a package of this name."""
ON_CUDA = ("bitsandbytes",)
GPTQ_BITS = (2, 4, 8)
IN_PIPELINES = ("bitsandbytes", "torchao")
"""Methods in which diffusers loads the parts of a pipeline."""


@dataclass(frozen=True)
class Quantization:
    """`values`: the quantization_config of a config.json."""

    values: Mapping[str, Any]

    @property
    def method(self) -> str:
        """`quant_method`; files of bitsandbytes' first years have none."""
        named = self.values.get("quant_method")
        by_flags = self.values.get("load_in_4bit") or self.values.get("load_in_8bit")
        return str(named or ("bitsandbytes" if by_flags else "unknown"))

    @property
    def bits(self) -> Any:
        return self.values.get("bits", self.values.get("w_bit", 4))

    def why_not(self) -> str:
        """The rest of a sentence that begins with "its weights are quantised by …"; "" where they can be loaded."""
        if self.method in UNPACKED:
            return self._why_not_unpacked()
        if self.method in UNPACKED_BY_TRANSFORMERS:
            return ""
        package = PACKAGES.get(self.method)
        if package is None:
            return "which is not read here: AWQ, GPTQ and fp8 are, and weights that are not quantised"
        if find_spec(package) is None:
            cuda = " and a CUDA device" if self.method in ON_CUDA else ""
            return f"which needs the package {self.method}{cuda}: .venv/bin/pip install {self.method}"
        return ""

    def _why_not_unpacked(self) -> str:
        if self.method == "awq" and str(self.values.get("version", "gemm")).lower() != "gemm":
            return f"packed as {self.values['version']}; only packing as gemm is read"
        known = (4,) if self.method == "awq" else GPTQ_BITS
        if self.bits not in known:
            return f"in {self.bits} bits; {' or '.join(map(str, known))} can be read"
        return ""


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """None for weights that are not quantised. Older files of compressed-tensors have a name of their own for it."""
    found = config.get("quantization_config")
    if isinstance(found, dict):
        return Quantization(found)
    older = config.get("compression_config")
    return Quantization({"quant_method": "compressed-tensors", **older}) if isinstance(older, dict) else None


def read_quantization(folder: Path) -> Quantization | None:
    """Of a checkpoint's config.json; None where there is none that can be read: others say so."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return quantization_of(config) if isinstance(config, dict) else None


def why_not_quantized(found: Quantization | None) -> str:
    """Why a checkpoint can't be loaded, as part of a sentence; "" where nothing speaks against it."""
    reason = found.why_not() if found else ""
    return f"its weights are quantised by {found.method}, {reason}" if found and reason else ""


def quantized_parts(folder: Path) -> dict[str, Quantization]:
    """Of a folder in diffusers' form, by the part's name."""
    found = {file.parent.name: read_quantization(file.parent) for file in sorted(folder.glob("*/config.json"))}
    return {name: quantization for name, quantization in found.items() if quantization}


def why_not_quantized_parts(folder: Path) -> str:
    """Why a folder in diffusers' form can't be loaded, as part of a sentence; "" where nothing speaks against it."""
    for name, found in quantized_parts(folder).items() if (folder / "model_index.json").is_file() else ():
        reason = found.why_not() if found.method in IN_PIPELINES else "which is not read in a pipeline"
        if reason:
            return f"the weights of its {name} are quantised by {found.method}, {reason}. {WHOLE}"
    return ""


WHOLE = "Or take the model that it was made from, and `storage` in the catalog"
