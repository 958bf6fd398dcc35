"""The weights in a diffusers folder that a load reads.  No torch, no Django."""

from __future__ import annotations

import itertools
from pathlib import Path

from api.downloads.permitted_files import WEIGHTS, variant_of


def installed_variant(folder: Path) -> str | None:
    """The variant ("fp16") that some component has its weights in, and in no other form."""
    for component in _components(folder):
        variants = {variant_of(file.name) for file in component}
        if None not in variants:
            return min(str(variant) for variant in variants)
    return None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a load would read; each lies in its component's folder."""
    variant = installed_variant(folder)
    chosen = []
    for component in _components(folder):
        of_variant = [file for file in component if variant and variant_of(file.name) == variant]
        chosen += of_variant or [file for file in component if variant_of(file.name) is None]
    return chosen


def _components(folder: Path) -> list[list[Path]]:
    files = [file for file in sorted(folder.glob("*/*.safetensors")) if WEIGHTS.fullmatch(file.name)]
    return [list(group) for _, group in itertools.groupby(files, key=lambda file: file.parent)]
