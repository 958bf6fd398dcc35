"""In what a model's weights may be kept in memory. No torch, no Django."""

from __future__ import annotations

from importlib.util import find_spec

STORAGES = {"fp8": "", "int8": "torchao", "nf4": "bitsandbytes"}
"""What `storage` of an entry may be, and the package that it needs beside requirements.txt.

int8 is torchao's, of weights alone: bitsandbytes' takes what a layer computes with to fp16, which diffusion transformers and T5 overflow,
and is less exact. torchao's int4 wants a package that is for CUDA alone.
"""
VERSIONS = {"torchao": "0.18.0", "bitsandbytes": "0.50.2"}
"""That the tests run with, beside this version of torch."""


def measure_of(storage: str) -> str:
    """The name of the memory measure that keeps weights so."""
    return f"{storage}_storage"


STORAGE_MEASURES = {measure_of(storage): storage for storage in STORAGES}


def why_no_storage(storage: str) -> str:
    """The rest of a sentence that begins with "its `storage` is …,"; "" where its package is here, or it needs none."""
    package = STORAGES.get(storage, "")
    if not package or find_spec(package) is not None:
        return ""
    return f"which needs the package {package}: .venv/bin/pip install {package}=={VERSIONS[package]}"
