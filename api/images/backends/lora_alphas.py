"""The alphas of adapters that diffusers and PEFT write: not beside the factors, but in the file's metadata. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

METADATA = "lora_adapter_metadata"
"""Diffusers' name: JSON of PEFT's LoraConfig, each key with its component's name before it ('unet.lora_alpha')."""


class Alphas:
    def __init__(self, metadata: Mapping[str, str]) -> None:
        try:
            config = json.loads(metadata.get(METADATA, "{}"))
        except (ValueError, RecursionError):
            config = {}
        self._config: dict[str, Any] = config if isinstance(config, dict) else {}

    def of(self, layer: str, rank: int) -> float | None:
        """Of a layer by its name ('unet.conv_in'); None where the file says nothing. The change is scaled by alpha / rank.

        As PEFT has it: `alpha_pattern` is by the ends of names; with `use_rslora` the scale is alpha / √rank (arXiv:2312.03732).
        """
        component, _, name = layer.partition(".")
        patterns = self._config.get(f"{component}.alpha_pattern")
        alpha = self._config.get(f"{component}.lora_alpha")
        for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
            if _ends_with(name, pattern):
                alpha = value
                break
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            return None
        return float(alpha) * (rank**0.5 if self._config.get(f"{component}.use_rslora") is True else 1.0)


def _ends_with(name: str, pattern: str) -> bool:
    """PEFT takes the pattern for a regular expression; what trainers write are names, and nobody's expression is run here."""
    return re.search(rf"(^|\.){re.escape(pattern)}$", name) is not None
