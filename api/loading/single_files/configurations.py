"""The configuration of each part: the base's where the entry has one, else ours, adapted to what the header shows.  [torch; no Django]"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.loading.checkpoints import read_json
from api.model_files.header import TensorInfo
from api.model_files.identify import Identity

FAMILIES = Path(__file__).with_name("families")
INPAINTING = {
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
}
LEAST_CHANNELS = 1

Tensors = Mapping[str, TensorInfo]


def configuration_folders(family: str, base: Path | None) -> list[Path]:
    """Where configurations are looked for, the first that has one."""
    return [*([base] if base is not None else []), FAMILIES / family]


def read_index(folder: Path, identity: Identity) -> dict[str, Any]:
    """model_index.json, with the pipeline of an inpainting model where it is one."""
    index = read_json(folder / "model_index.json")
    if identity.variant == "inpainting":
        index["_class_name"] = INPAINTING.get(index["_class_name"], index["_class_name"])
    return index


def read_config(folders: list[Path], part: str, name: str = "config.json") -> dict[str, Any]:
    return next((config for folder in folders if (config := read_json(folder / part / name))), {})


def adapt(config: dict[str, Any], family: str, tensors: Tensors) -> dict[str, Any]:
    """A denoiser's configuration with what differs between releases of its family. `tensors` are without their prefix."""
    return {**config, **ADAPTED[family](config, tensors)}


def _unet(config: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    return {"in_channels": _axis(tensors, 1, "input_blocks.0.0.weight", "conv_in.weight") or config["in_channels"]}


def _sd3(config: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    width = _axis(tensors, 0, "context_embedder.weight")
    layers = _count(tensors, r"(?:joint|transformer)_blocks\.(\d+)\.")
    positions = _axis(tensors, 1, "pos_embed", "pos_embed.pos_embed")
    with_second = {int(match[1]) for name in tensors if (match := re.match(r"\w+_blocks\.(\d+)\.(?:x_block\.)?attn2\.", name))}
    normed = any(".ln_q." in name or ".attn.norm_q." in name for name in tensors)
    return {
        "num_layers": layers,
        "caption_projection_dim": width,
        "num_attention_heads": max(LEAST_CHANNELS, width // config["attention_head_dim"]),
        "pos_embed_max_size": math.isqrt(positions),
        "dual_attention_layers": tuple(sorted(with_second)),
        "qk_norm": "rms_norm" if normed else None,
    }


def _flux(config: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    width = _axis(tensors, 0, "img_in.weight", "x_embedder.weight")
    return {
        "num_layers": _count(tensors, r"(?:double|transformer)_blocks\.(\d+)\."),
        "num_single_layers": _count(tensors, r"(?:single|single_transformer)_blocks\.(\d+)\."),
        "num_attention_heads": max(LEAST_CHANNELS, width // config["attention_head_dim"]),
        "guidance_embeds": any(name.startswith(("guidance_in.", "time_text_embed.guidance_embedder.")) for name in tensors),
    }


ADAPTED = {"sd1": _unet, "sd2": _unet, "sdxl": _unet, "sd3": _sd3, "flux": _flux}


def _axis(tensors: Tensors, axis: int, *names: str) -> int:
    """0 where there is no such tensor, or none of that many axes."""
    found = next((tensors[name].shape for name in names if name in tensors), ())
    return found[axis] if axis < len(found) else 0


def _count(tensors: Tensors, pattern: str) -> int:
    """Blocks are numbered from 0."""
    return max((int(match[1]) + 1 for name in tensors if (match := re.match(pattern, name))), default=0)
