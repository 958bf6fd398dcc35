"""A chat model's variants in ONNX: their names, and the files of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from api.catalog.entries import ModelEntry
from api.catalog.lookup_errors import UnknownModel

ONNX_SUFFIXES = {
    "fp32": "",
    "fp16": "_fp16",
    "int8": "_int8",
    "uint8": "_uint8",
    "quantized": "_quantized",
    "q4": "_q4",
    "q4f16": "_q4f16",
    "bnb4": "_bnb4",
}
"""How the hub names the files of a variant: onnx/decoder_model_merged_q4.onnx."""
ONNX_DECODERS = ("decoder_model_merged", "model")
ONNX_PARTS = ("vision_encoder", "embed_tokens", *ONNX_DECODERS)
ONNX_PRESETS = {"Q4_MIXED": {"vision_encoder": "quantized", "embed_tokens": "quantized", **dict.fromkeys(ONNX_DECODERS, "q4")}}
"""Variants whose parts are of different ones."""
ONNX_PRECISIONS = {
    "fp32": ("fp32",),
    "fp16": ("fp16",),
    "int8": ("int8", "quantized", "uint8"),
    "int4": ("q4", "q4f16", "bnb4", "Q4_MIXED"),
    "bf16": (),
}
ONNX_FAMILIES = ("idefics3", "smolvlm", "llama", "mistral", "qwen2", "phi", "phi3", "gemma", "starcoder2")
"""What `export_onnx` can write: transformers' model_types, which are the catalog's families here."""
ONNX_WORDS = ("*.json", "*.jinja", "*.txt", "tokenizer.model")


ORIGINS = ("onnx", "exported")
"""The first word of a variant's name: whether it is of the model's own repository or folder, or was made by `export_onnx`."""


def names_onnx_variant(name: str) -> bool:
    """Whether what stands behind an @ is meant as a variant: a file's name may have an @, too."""
    return name.partition("-")[0] in ORIGINS and "-" in name


def onnx_variant(entry: ModelEntry, name: str) -> ModelEntry:
    """`onnx-int8` of its own repository or folder, `exported-int8` of what `export_onnx` made of it. Raises UnknownModel."""
    origin, _, variant = name.partition("-")
    if origin not in ORIGINS or variant not in {*ONNX_SUFFIXES, *ONNX_PRESETS}:
        raise UnknownModel(f"{entry.id}@{name}", [f"{entry.id}@onnx-{known}" for known in entry.onnx])
    return as_variant(entry, f"{entry.id}@{name}", variant)


def as_variant(entry: ModelEntry, model_id: str, variant: str) -> ModelEntry:
    patterns = (f"onnx/{part_file(part, variant)}*" for part in ONNX_PARTS)
    return dataclasses.replace(entry, id=model_id, onnx_variant=variant, variant=None, files=(*ONNX_WORDS, *patterns))


def part_file(part: str, variant: str) -> str:
    """decoder_model_merged_q4.onnx"""
    return f"{part}{ONNX_SUFFIXES[ONNX_PRESETS.get(variant, {}).get(part, variant)]}.onnx"


def onnx_files(folder: Path, variant: str) -> list[Path]:
    """The parts of a variant that lie in a model's folder."""
    files = (folder / "onnx" / part_file(part, variant) for part in ONNX_PARTS)
    return [file for file in files if file.is_file()]
