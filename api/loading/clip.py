"""CLIP checkpoints (transformers' CLIPModel): from a folder to both towers and what prepares their inputs.  [torch; no Django]"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.permitted_files import WEIGHTS
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import load_complete
from api.loading.clip_preprocessing import ClipPreprocessor
from api.loading.device_memory import estimate_files


@dataclass(frozen=True)
class Clip:
    """`lease.pipeline` of a CLIP model."""

    model: Any
    """transformers' CLIPModel, on the device and in its dtype."""
    processor: Any
    """The checkpoint's own image processor: PIL pictures in, `pixel_values` (N, 3, H, W) float32 out, on the CPU."""
    tokenizer: Any
    preprocessor: ClipPreprocessor
    """A faster equivalent of `processor`."""
    cached_texts: dict[str, Any] = field(default_factory=dict)
    """Embeddings of sentences that a scorer asks for each time; they live as long as the model is loaded."""

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"model": self.model}

    @property
    def context_length(self) -> int:
        """The most tokens of a text, with its start and end tokens; longer texts are truncated."""
        return min(int(self.tokenizer.model_max_length), int(self.model.config.text_config.max_position_embeddings))


def make_builder() -> Builder:
    return Builder(build=build_clip, estimate=estimate_bytes, takes_base=True)


def build_clip(entry: ModelEntry, folder: Path, device: Device, base: Path | None = None) -> Clip:
    """Load from the folder alone, in the device's dtype; tokenizer and image processor are the base's, where it has one.

    Raises DarkroomError where the checkpoint is no CLIPModel, or prepares its pictures in a way that isn't known here.
    """
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if model_type != "clip":
        raise DarkroomError("broken_model", 422, f"{entry.name} is no CLIPModel: its model_type is {model_type!r}.")
    options = {"local_files_only": True, "trust_remote_code": False}
    model = load_complete(CLIPModel, entry, folder, dtype=device.dtype, use_safetensors=True, **options)
    processor = CLIPImageProcessorPil.from_pretrained(base or folder, **options)
    tokenizer = CLIPTokenizer.from_pretrained(base or folder, **options)
    try:
        preprocessor = ClipPreprocessor.of(processor)
    except ValueError as error:
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be used: {error}.") from error
    return Clip(model.eval().requires_grad_(False), processor, tokenizer, preprocessor)


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device, base: Path | None = None) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if WEIGHTS.fullmatch(file.name)]
    return estimate_files(entry, folder, files, device.dtype)
