"""Which network a file's tensors belong to, by their names and shapes. No torch, no Django."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.model_files.header import TensorInfo

Tensors = Mapping[str, TensorInfo]

DENOISER_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
CONTROL_PREFIX = "control_model."
EMA_PREFIX = "model_ema."
WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""Of the text that a UNet's attention reads."""
UNET_VARIANTS = {4: "", 9: "inpainting", 8: "pix2pix", 5: "depth", 7: "upscaler"}
"""By the channels of a UNet's input."""
FLUX_VARIANTS = {384: "fill", 128: "control", 64: ""}
VAE_PREFIXES = ("first_stage_model.", "vae.", "")
TEXT_PREFIXES = ("cond_stage_model.", "conditioner.embedders.", "text_encoders.")

LORA = re.compile(
    r"\.lora_(down|up|mid|A|B)\b|lora_linear_layer|\.(hada|lokr|oft)_|\.dora_scale$|\.on_input$|\.(diff|diff_b|w_norm|b_norm)$|\.lora\.(up|down)\."
)
CONTROLNET = re.compile(
    r"^(control_model\.|controlnet_cond_embedding\.|input_hint_block\.|controlnet_blocks\.|lora_controlnet$|controlnet_down_blocks\.|adapter\.body\.|body\.0\.block1\.)"
)
IMAGE_PROJECTION, IMAGE_ATTENTION = "image_proj.", "ip_adapter."
"""What the names of an IP-Adapter's tensors begin with."""
UPSCALERS = {
    "rrdbnet": re.compile(r"(model\.1\.sub|body|RRDB_trunk)\.0\.(RDB|rdb)1\.conv1\.(0\.)?weight"),
    "swinir": re.compile(r"layers\.0\.(residual_group\.)?blocks\.0\."),
}
"""By a name among the tensors."""
UPSCALER_WRAPPERS = ("params_ema.", "params.", "")
"""Before the names of an upscaler's tensors."""
TEXT_ENCODER = re.compile(
    r"^(text_model\.encoder\.layers\.0\.|encoder\.block\.0\.layer\.0\.SelfAttention\.|(model\.)?transformer\.resblocks\.0\.attn)"
)

OTHERS = {
    "distilled_guidance_layer.": ("chroma", "Chroma"),
    "single_stream_modulation.": ("flux2", "FLUX.2"),
    "cap_embedder.": ("lumina2", "Lumina 2 or Z-Image"),
    "double_layers.0.": ("auraflow", "AuraFlow"),
    "patchify_proj.": ("ltx-video", "LTX-Video"),
    "txt_in.individual_token_refiner.": ("hunyuan-video", "HunyuanVideo"),
    "blocks.0.cross_attn.q_linear.": ("sana", "PixArt or Sana"),
    "head.modulation": ("wan", "Wan"),
    "double_stream_blocks.0.": ("hidream", "HiDream"),
    "txt_in.text_norm.": ("qwen-image", "Qwen-Image"),
    "txt_norm.": ("qwen-image", "Qwen-Image"),
}
"""Denoisers of other families that are recognised only: the start of a name, our name of the family, and people's."""


@dataclass(frozen=True)
class Denoiser:
    family: str
    variant: str = ""
    prefix: str = ""
    """Before the names of its tensors."""
    diffusers_names: bool = False
    """The tensors have the names of diffusers' folders, not those of the original release."""
    title: str = ""
    """What people call a family that isn't built here."""


def find_denoiser(tensors: Tensors) -> Denoiser | None:
    """None where the file has none."""
    for prefix in DENOISER_PREFIXES:
        if f"{prefix}input_blocks.0.0.weight" in tensors and not _has(tensors, "control_model.", "input_hint_block."):
            return _unet(tensors, prefix)
        if f"{prefix}double_blocks.0.img_attn.norm.key_norm.scale" in tensors:
            return _flux(tensors, prefix)
        if _has(tensors, f"{prefix}joint_blocks.0."):
            return Denoiser("sd3", prefix=prefix)
        for start, (family, title) in OTHERS.items():
            if _has(tensors, f"{prefix}{start}"):
                return Denoiser(family, prefix=prefix, title=title)
    return _diffusers_denoiser(tensors)


def find_vae(tensors: Tensors) -> str | None:
    """What stands before its tensors' names; None where there is none."""
    return next((prefix for prefix in VAE_PREFIXES if f"{prefix}decoder.conv_in.weight" in tensors), None)


def has_text_encoder(tensors: Tensors) -> bool:
    return _has(tensors, *TEXT_PREFIXES)


def is_lora(tensors: Tensors) -> bool:
    return any(LORA.search(name) for name in tensors)


def is_controlnet(tensors: Tensors) -> bool:
    return any(CONTROLNET.search(name) for name in tensors)


def upscaler_family(tensors: Tensors) -> str:
    """rrdbnet, srvgg, or swinir for its like; "" for what is no upscaler."""
    for wrapper in UPSCALER_WRAPPERS:
        for family, pattern in UPSCALERS.items():
            if any(name.startswith(wrapper) and pattern.match(name, len(wrapper)) for name in tensors):
                return family
        if _is_srvgg(tensors, f"{wrapper}body."):
            return "srvgg"
    return ""


def _is_srvgg(tensors: Tensors, prefix: str) -> bool:
    """Convolutions, and between two of them the slopes of a PReLU: nothing but a list of layers."""
    first, slopes = tensors.get(f"{prefix}0.weight"), tensors.get(f"{prefix}1.weight")
    is_begun = first is not None and len(first.shape) == 4 and slopes is not None and len(slopes.shape) == 1
    return is_begun and all(name.startswith(prefix) for name in tensors)


def controlnet_prefix(tensors: Tensors) -> str:
    """What stands before its tensors' names."""
    return CONTROL_PREFIX if _has(tensors, CONTROL_PREFIX) else ""


def controlnet_family(tensors: Tensors) -> str:
    if _has(tensors, "transformer_blocks.", "single_transformer_blocks.", "double_blocks."):
        return "sd3" if "pos_embed.proj.weight" in tensors else "flux"
    if not any(name.endswith("attn2.to_k.weight") for name in tensors):
        return ""
    prefix = controlnet_prefix(tensors)
    if f"{prefix}input_blocks.0.0.weight" in tensors:
        return _unet_family(tensors, f"{prefix}input_blocks.", f"{prefix}label_emb.")
    return _unet_family(tensors, "down_blocks.", "add_embedding.") if "conv_in.weight" in tensors else ""


def why_no_controlnet(tensors: Tensors) -> str:
    """A sentence about a file that steers pictures in another way than a ControlNet's; "" for a ControlNet."""
    if "lora_controlnet" in tensors:
        return "It is a Control-LoRA, which is not run here; use the whole ControlNet."
    if _has(tensors, "adapter.body.", "body.0.block1."):
        return "It is a T2I-Adapter, which is not run here; use a ControlNet."
    if _has(tensors, "task_embedding", "control_add_embedding.") and not union_types(tensors):
        return "It is a ControlNet Union of a form that is not run here: one for SDXL in diffusers' names is."
    if controlnet_family(tensors) == "flux" and "x_embedder.weight" not in tensors:
        return "It is a ControlNet for FLUX in names of its own (XLabs); use one in diffusers' names."
    return ""


UNION = "union-"
"""How the variant of a ControlNet Union begins; the number of its types follows."""


def union_types(tensors: Tensors) -> int:
    """How many kinds of maps a ControlNet Union for SDXL tells apart; 0 for another network."""
    is_known = controlnet_family(tensors) == "sdxl" and _has(tensors, "control_add_embedding.", "spatial_ch_projs.")
    return next(iter(_shape(tensors, "task_embedding")), 0) if is_known else 0


def is_ip_adapter(tensors: Tensors) -> bool:
    return _has(tensors, IMAGE_PROJECTION) and _has(tensors, IMAGE_ATTENTION)


def ip_adapter_family(tensors: Tensors) -> str:
    """By the width of the text that stands beside what it adds."""
    shape = _shape(tensors, f"{IMAGE_ATTENTION}1.to_k_ip.weight")
    return WIDTHS.get(shape[-1], "") if shape else ""


def ip_adapter_features(tensors: Tensors) -> str:
    """What it reads of a picture: "embeds-1024", of the picture as a whole, or "states-1280", of its parts; "" for another form."""
    if shape := _shape(tensors, f"{IMAGE_PROJECTION}proj.weight"):
        return f"embeds-{shape[-1]}"
    if _shape(tensors, f"{IMAGE_PROJECTION}proj.3.weight") and (shape := _shape(tensors, f"{IMAGE_PROJECTION}proj.0.weight")):
        return f"states-{shape[-1]}"
    has_queries = bool(_shape(tensors, f"{IMAGE_PROJECTION}latents"))
    return f"states-{shape[-1]}" if has_queries and (shape := _shape(tensors, f"{IMAGE_PROJECTION}proj_in.weight")) else ""


def why_no_ip_adapter(tensors: Tensors) -> str:
    """A sentence about one that isn't run here; "" for the others."""
    if ip_adapter_features(tensors):
        return ""
    if _has(tensors, f"{IMAGE_PROJECTION}perceiver_resampler.", f"{IMAGE_PROJECTION}proj.0."):
        return "It is an IP-Adapter FaceID, which needs a network that recognises faces; there is none here."
    return "It is an IP-Adapter of a form that is not known here."


def image_encoder_features(tensors: Tensors) -> str:
    """Of the picture half of a CLIP, in transformers' names: "embeds-1024 states-1280"; "" for what is none."""
    projection, token = _shape(tensors, "visual_projection.weight"), _shape(tensors, "vision_model.embeddings.class_embedding")
    is_alone = all(name.startswith(("vision_model.", "visual_projection.")) for name in tensors)
    return f"embeds-{projection[0]} states-{token[-1]}" if projection and token and is_alone else ""


def is_text_encoder(tensors: Tensors) -> bool:
    return any(TEXT_ENCODER.search(name) for name in tensors)


def embedding_family(tensors: Tensors) -> str | None:
    """Of a textual inversion; "" for an unknown one, and None for what is none."""
    if {"clip_l", "clip_g"} <= tensors.keys():
        return "sdxl"
    vectors = tensors.get("emb_params") or (next(iter(tensors.values())) if len(tensors) == 1 else None)
    if vectors is None or len(vectors.shape) not in (1, 2) or ("emb_params" not in tensors and vectors.shape[-1] not in WIDTHS):
        return None
    return WIDTHS.get(vectors.shape[-1], "")


def lora_family(tensors: Tensors) -> str:
    """ "" where the names don't say."""
    names = "\n".join(tensors)
    if "double_blocks" in names or "single_transformer_blocks" in names:
        return "flux"
    if "joint_blocks" in names or re.search(r"(?<!single_)transformer_blocks[._]\d+[._]attn[._](to_q|add_q_proj)", names):
        return "sd3"
    if "lora_te2_" in names or "text_encoder_2" in names or "add_embedding" in names or "label_emb" in names:
        return "sdxl"
    widths = {
        info.shape[1]
        for name, info in tensors.items()
        if len(info.shape) == 2 and re.search(r"attn2[._]to_k.*(lora_down|lora_A|lora\.down)\b", name)
    }
    return WIDTHS.get(max(widths, default=0), "")


def _unet(tensors: Tensors, prefix: str) -> Denoiser:
    shape = tensors[f"{prefix}input_blocks.0.0.weight"].shape
    variant = UNET_VARIANTS.get(shape[1], "unknown") if len(shape) == 4 else "unknown"
    return Denoiser(_unet_family(tensors, f"{prefix}input_blocks.", f"{prefix}label_emb."), variant, prefix)


def _unet_family(tensors: Tensors, blocks: str, label: str) -> str:
    """By the width of the text; for widths of no release, by the text encoders beside it."""
    ends = "attn2.to_k.weight"
    width = next((info.shape[-1] for name, info in tensors.items() if name.startswith(blocks) and name.endswith(ends)), 0)
    if width in WIDTHS:
        return WIDTHS[width]
    if _has(tensors, label):
        return "sdxl-refiner" if _has(tensors, "conditioner.embedders.0.model.") else "sdxl"
    return "sd2" if _has(tensors, "cond_stage_model.model.") else "sd1"


def _flux(tensors: Tensors, prefix: str) -> Denoiser:
    if _has(tensors, f"{prefix}distilled_guidance_layer."):
        return Denoiser("chroma", prefix=prefix, title="Chroma")
    entrance = tensors.get(f"{prefix}img_in.weight")
    channels = entrance.shape[-1] if entrance is not None and entrance.shape else 64
    variant = FLUX_VARIANTS.get(channels, "")
    if not variant and f"{prefix}guidance_in.in_layer.weight" not in tensors:
        variant = "schnell"
    return Denoiser("flux", variant, prefix)


def _diffusers_denoiser(tensors: Tensors) -> Denoiser | None:
    """A denoiser alone, as diffusers itself saves it."""
    if "conv_in.weight" in tensors and _has(tensors, "down_blocks.0.resnets.") and "time_embedding.linear_1.weight" in tensors:
        channels = (*tensors["conv_in.weight"].shape, 0, 0)[1]
        family = _unet_family(tensors, "down_blocks.", "add_embedding.")
        return Denoiser(family, UNET_VARIANTS.get(channels, "unknown"), diffusers_names=True)
    if _has(tensors, "single_transformer_blocks.0.") and "x_embedder.weight" in tensors:
        schnell = "" if _has(tensors, "time_text_embed.guidance_embedder.") else "schnell"
        return Denoiser("flux", schnell, diffusers_names=True)
    if "pos_embed.proj.weight" in tensors and _has(tensors, "transformer_blocks.0.attn.add_q_proj"):
        return Denoiser("sd3", diffusers_names=True)
    return None


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    """() where it is not there."""
    return tuple(tensors[name].shape) if name in tensors else ()


def _has(names: Iterable[str], *starts: str) -> bool:
    return any(name.startswith(starts) for name in names)
