"""Our own parameters: the request as it was run."""

from collections.abc import Mapping
from typing import Any

from api.images.png_info.found import Found, FoundLora, as_list, as_mapping, as_text
from api.images.prompt_syntax.syntaxes import COMPEL, SYNTAXES

NUMBERS = ("width", "height", "steps", "guidance_scale", "seed", "clip_skip")


def read_darkroom(data: Mapping[str, Any]) -> Found:
    """A picture's own seed is in it, so the request is for this picture alone."""
    found = Found("darkroom", as_text(data.get("prompt")), as_text(data.get("negative_prompt")))
    syntax = data.get("prompt_syntax")
    found.syntax = syntax if syntax in SYNTAXES else COMPEL
    found.values = {name: data[name] for name in NUMBERS if data.get(name) is not None}
    found.sampler = as_text(data.get("scheduler"))
    found.models = [as_text(data.get("model_id"))] if as_text(data.get("model_id")) else []
    found.loras = [read_lora(use) for use in map(as_mapping, as_list(data.get("loras")))]
    found.variation = data.get("variation") if isinstance(data.get("variation"), dict) else None
    found.hires, found.upscale = dict(as_mapping(data.get("hires"))), dict(as_mapping(data.get("upscale")))
    if data.get("shortened"):
        found.warnings.append("The parameters were shortened when the file was written.")
    if "image" in data:
        found.strength = data.get("strength", 0.6)
    return found


def read_lora(use: Mapping[str, Any]) -> FoundLora:
    """A part that has no strength of its own has `weight`."""
    weight = use.get("weight", 1.0)
    text, unet = (weight if use.get(part) is None else use[part] for part in ("text", "unet"))
    return FoundLora(as_text(use.get("id")), text, unet=unet)
