"""What a reader of one program's parameters gives, in our names but with values as they stand in the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.images.prompt_syntax.syntaxes import COMPEL
from api.json_types import JsonObject

LONGEST_SHOWN = 80


@dataclass(frozen=True)
class FoundLora:
    name: str
    weight: Any = 1.0
    """On the text encoders; on the denoiser, too, where `unet` is None."""
    hash: str = ""
    unet: Any = None


@dataclass
class Found:
    source: str
    prompt: str = ""
    negative_prompt: str = ""
    syntax: str = COMPEL
    values: dict[str, Any] = field(default_factory=dict)
    """steps, guidance_scale, seed, width, height, clip_skip …"""
    sampler: str = ""
    schedule: str = ""
    """Of the noise levels: Karras, say."""
    models: list[str] = field(default_factory=list)
    """What the model may be called: the name to show first, then hashes."""
    loras: list[FoundLora] = field(default_factory=list)
    embeddings: list[str] = field(default_factory=list)
    vae: str = ""
    variation: JsonObject | None = None
    """As a request has it."""
    is_edited: bool = False
    """Whether the file says that the picture was made from another: a strength of 1 alone says nothing."""
    strength: Any = None
    """Of a picture that was made from another."""
    hires: dict[str, Any] = field(default_factory=dict)
    """Of a second pass: scale, steps, strength, upscaler."""
    upscale: dict[str, Any] = field(default_factory=dict)
    """What enlarged it at the end: model_id, scale."""
    taken: JsonObject = field(default_factory=dict)
    """Fields of a request that it is to have as they stand."""
    warnings: list[str] = field(default_factory=list)


def parse_json(text: str) -> Any:
    """None for what is no JSON, or nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def shown(value: object) -> str:
    text = " ".join(str(value)[: LONGEST_SHOWN + 1].split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
