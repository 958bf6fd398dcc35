"""Which of a file's tensors belong to which part of the pipeline, by the prefixes of the original releases.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from api.model_files.header import TensorInfo
from api.model_files.layouts import EMA_PREFIX, Denoiser, find_vae

Layout = Literal["original", "transformers", "open_clip"]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a part lies in a file."""

    prefix: str
    layout: Layout
    """Whose names its tensors have after the prefix."""


CLIP_L, CLIP_G, T5 = (Place(f"text_encoders.{name}.transformer.", "transformers") for name in ("clip_l", "clip_g", "t5xxl"))
TEXT_ENCODERS: dict[str, dict[str, Place]] = {
    "sd1": {"text_encoder": Place("cond_stage_model.transformer.", "transformers")},
    "sd2": {"text_encoder": Place("cond_stage_model.model.", "open_clip")},
    "sdxl": {
        "text_encoder": Place("conditioner.embedders.0.transformer.", "transformers"),
        "text_encoder_2": Place("conditioner.embedders.1.model.", "open_clip"),
    },
    "sd3": {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "text_encoder_3": T5},
    "flux": {"text_encoder": CLIP_L, "text_encoder_2": T5},
}
DENOISERS = {"sd1": "unet", "sd2": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}
OTHER_PREFIXES = ("first_stage_model.", "vae.", "cond_stage_model.", "conditioner.", "text_encoders.", EMA_PREFIX)
"""Not the denoiser's, where that has no prefix."""
TOP_LEVEL = ("v_pred", "ztsnr", "scaled_fp8", "edm_mean", "edm_std")
"""What says something of the whole file."""


def find_places(names: Mapping[str, object], denoiser: Denoiser, tensors_of_vae: str | None) -> dict[str, Place]:
    """The parts that a file has, by the pipeline's names of them."""
    places = {DENOISERS[denoiser.family]: Place(denoiser.prefix, "original")}
    if tensors_of_vae is not None:
        places["vae"] = Place(tensors_of_vae, "original")
    encoders = TEXT_ENCODERS[denoiser.family].items()
    return places | {part: place for part, place in encoders if any(name.startswith(place.prefix) for name in names)}


def take(tensors: Mapping[str, T], place: Place) -> dict[str, T]:
    """The tensors of one part, without what stands before their names."""
    if place.prefix:
        return {name.removeprefix(place.prefix): value for name, value in tensors.items() if name.startswith(place.prefix)}
    return {name: value for name, value in tensors.items() if not name.startswith(OTHER_PREFIXES) and name not in TOP_LEVEL}


def place_of_vae(names: Mapping[str, object]) -> Place | None:
    """In a file of a VAE alone."""
    prefix = find_vae(names)  # type: ignore[arg-type]
    return None if prefix is None else Place(prefix, "original")


ALONE = Place("", "transformers")
"""Of a text encoder in a file of its own."""
CLIP_G_WIDTH = 1280


def place_of_encoder(tensors: Mapping[str, TensorInfo]) -> Place | None:
    """Where a text encoder of a file of its own would lie in a whole checkpoint of SD 3 or FLUX."""
    if "encoder.block.0.layer.0.SelfAttention.q.weight" in tensors:
        return T5
    words = tensors.get("text_model.embeddings.token_embedding.weight")
    if words is None:
        return None
    return CLIP_G if words.shape[-1] >= CLIP_G_WIDTH else CLIP_L
