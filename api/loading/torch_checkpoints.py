"""A checkpoint of transformers in memory, whatever its task.  [torch; no Django]"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class TorchCheckpoint:
    """What a lease gets."""

    model: Any
    processor: Any
    """Of its pictures, or of its pictures and words."""
    model_type: str
    labels: tuple[str, ...]
    """By the model's number of the class; none where it has no classes of its own."""

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"model": self.model}
