"""The settings that act on one request: those of the key's options, and `override_settings` before them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.catalog import ModelEntry
from api.dialects.a1111.errors import refusal
from api.images.png_info.resolving import find_model, names_like
from api.images.serializers import find_default
from api.json_types import JsonObject

MODEL, CLIP_LAYERS, FORMAT, VAE = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "samples_format", "sd_vae"
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
OWN_VAE = ("", "none", "automatic")
LONGEST_SHOWN = 100


@dataclass
class Overrides:
    entry: ModelEntry
    request: JsonObject = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_overrides(kept: Mapping[str, Any], sent: Mapping[str, Any]) -> Overrides:
    """Raises RequestRefused for a model that nobody knows."""
    both = {**kept, **sent}
    entry = find_checkpoint(both.get(MODEL))
    overrides = Overrides(entry, {"model_id": entry.id})
    put_clip_layers(both.get(CLIP_LAYERS), overrides)
    if (format_name := FORMATS.get(str(both.get(FORMAT) or "").lower())) is not None:
        overrides.request["output_format"] = format_name
    for name, value in sent.items():
        if (name not in (MODEL, CLIP_LAYERS, FORMAT, VAE) and value is not None) or (
            name == VAE and str(value).lower() not in OWN_VAE
        ):
            overrides.warnings.append(f"override_settings.{name[:LONGEST_SHOWN]} has no effect here.")
    return overrides


def find_checkpoint(name: Any) -> ModelEntry:
    """By an id, or what A1111 calls a model: a title `name.safetensors [hash]`, a file's name, a hash. '' is the default one."""
    if name in (None, ""):
        return find_default(None)
    title, _, short_hash = str(name)[:500].partition(" [")
    entry = find_model([*names_like(title.strip()), short_hash.rstrip("]")])
    if entry is None:
        shown = str(name)[:LONGEST_SHOWN]
        raise refusal(f"override_settings.{MODEL}", f"Unknown checkpoint: {shown}", "unknown_model")
    return entry


def put_clip_layers(value: Any, overrides: Overrides) -> None:
    """Theirs counts the last layer as one."""
    if value in (None, ""):
        return
    try:
        layers = int(value)
    except (TypeError, ValueError, OverflowError):
        raise refusal(f"override_settings.{CLIP_LAYERS}", "Must be a whole number from 1 to 12.") from None
    if not 1 <= layers <= 13:
        raise refusal(f"override_settings.{CLIP_LAYERS}", "Must be a whole number from 1 to 12.")
    if layers > 1:
        overrides.request["clip_skip"] = layers - 1
