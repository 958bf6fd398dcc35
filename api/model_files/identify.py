"""What a safetensors file is: its kind, its family and how it is to be used, from its header and its name. No torch, no Django.

identity = identify(read_header(path), path.name)
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from api.model_files import layouts, statements
from api.model_files.gguf import why_not_used
from api.model_files.header import Header, TensorInfo

Kind = Literal[
    "checkpoint",
    "denoiser",
    "vae",
    "lora",
    "embedding",
    "upscaler",
    "controlnet",
    "ip_adapter",
    "image_encoder",
    "text_encoder",
    "unknown",
]

PRECISIONS = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}
PREDICTION_KEYS = ("v_pred",)
ZERO_SNR_KEYS = ("ztsnr",)
BUILT_FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "flux")
"""Families of which a checkpoint in one file can be loaded (api/loading/single_files)."""
BUILT_UPSCALERS = ("rrdbnet", "srvgg")
"""Networks that api/loading/upscaling builds."""
EPSILON_SD2 = re.compile(r"(?<!\d)512(?!\d)|turbo|base")
"""In the name of a Stable Diffusion 2 that predicts the noise; the others predict v, and their weights don't tell."""


@dataclass(frozen=True)
class Identity:
    kind: Kind
    family: str = ""
    """As the catalog spells it; "" is unknown."""
    variant: str = ""
    """inpainting, pix2pix, fill, schnell …; "" is the plain one. Of an IP-Adapter and of an image encoder: `features`."""
    prediction: str = ""
    """epsilon, v_prediction, or "" where nothing tells."""
    zero_terminal_snr: bool = False
    precision: str = ""
    """Of most of its bytes: fp32, fp16, bf16, fp8, fp8-scaled, nf4 …"""
    trigger_words: tuple[str, ...] = ()
    few_step: str = ""
    """lcm, lightning, hyper or turbo, by its name or metadata: a suggestion."""
    lacks: tuple[str, ...] = ()
    """The parts that a checkpoint doesn't have: vae, text_encoder."""
    unusable: str = ""
    """Why it can't be used here, in a sentence."""
    parameters: int = 0
    hashes: dict[str, str] = field(default_factory=dict)
    """From its metadata: sshs_model_hash, sshs_legacy_hash, sha256 (of its tensors)."""

    @property
    def features(self) -> tuple[str, ...]:
        """Of an image encoder: what it makes of a picture, with the width; of an IP-Adapter: what it reads."""
        return tuple(self.variant.split()) if self.kind in ("ip_adapter", "image_encoder") else ()


def identify(header: Header, name: str) -> Identity:
    """`name` is the file's."""
    kind, family, variant = _kind(header, name)
    return Identity(
        kind=kind,
        family=family,
        variant=variant,
        prediction=_prediction(header, name, kind, family, variant),
        zero_terminal_snr=any(key in header.tensors for key in ZERO_SNR_KEYS)
        or statements.is_true(header.metadata, "ss_zero_terminal_snr"),
        precision=find_precision(header),
        trigger_words=statements.trigger_words(header.metadata),
        few_step=statements.few_step_kind(name, header.metadata) if kind in ("checkpoint", "denoiser", "lora") else "",
        lacks=_lacks(header) if kind == "checkpoint" else (),
        unusable=_unusable(header, kind, family, variant),
        parameters=sum(prod(info.shape) for key, info in header.tensors.items() if _is_weight(key, info)),
        hashes=statements.stated_hashes(header.metadata),
    )


def find_precision(header: Header) -> str:
    sizes: Counter[str] = Counter()
    for key, info in header.tensors.items():
        sizes[info.dtype] += info.nbytes if _is_weight(key, info) else 0
    if not sizes:
        return ""
    if any("bitsandbytes__" in key or key.endswith(".absmax") for key in header.tensors):
        return "fp4" if any("bitsandbytes__fp4" in key for key in header.tensors) else "nf4"
    dtype = sizes.most_common(1)[0][0]
    scaled = any(key.endswith((".scale_weight", "scaled_fp8", ".weight_scale")) for key in header.tensors)
    precision = PRECISIONS.get(dtype, dtype.lower())
    return f"{precision}-scaled" if scaled and precision == "fp8" else precision


def _kind(header: Header, name: str) -> tuple[Kind, str, str]:
    tensors = header.tensors
    stated = statements.stated_family(header.metadata)
    if layouts.is_ip_adapter(tensors):
        return "ip_adapter", layouts.ip_adapter_family(tensors) or stated, layouts.ip_adapter_features(tensors)
    if layouts.is_lora(tensors):
        return "lora", layouts.lora_family(tensors) or stated, ""
    if layouts.is_controlnet(tensors):
        types = layouts.union_types(tensors)
        return "controlnet", layouts.controlnet_family(tensors) or stated, f"{layouts.UNION}{types}" if types else ""
    denoiser = layouts.find_denoiser(tensors)
    if denoiser is not None:
        whole = layouts.has_text_encoder(tensors) or layouts.find_vae(tensors) is not None
        return "checkpoint" if whole else "denoiser", denoiser.family, denoiser.variant
    if any(key.startswith(layouts.EMA_PREFIX) for key in tensors):
        return "checkpoint", stated, ""
    return _kind_of_part(header, name, stated)


def _kind_of_part(header: Header, name: str, stated: str) -> tuple[Kind, str, str]:
    tensors = header.tensors
    if (prefix := layouts.find_vae(tensors)) is not None:
        shape = tensors[f"{prefix}decoder.conv_in.weight"].shape
        family = stated or ("sdxl" if re.search(r"sdxl|(?<![a-z])xl(?![a-z])", name.lower()) else "")
        return "vae", family, f"{shape[1]}-channel" if len(shape) == 4 else ""
    if family := layouts.upscaler_family(tensors):
        return "upscaler", family, ""
    if features := layouts.image_encoder_features(tensors):
        return "image_encoder", "clip", features
    if layouts.is_text_encoder(tensors):
        return "text_encoder", "", ""
    family_of_embedding = layouts.embedding_family(tensors)
    if family_of_embedding is not None:
        return "embedding", family_of_embedding or stated, ""
    return "unknown", stated, ""


def _prediction(header: Header, name: str, kind: Kind, family: str, variant: str) -> str:
    if kind not in ("checkpoint", "denoiser") or family not in ("sd1", "sd2", "sdxl"):
        return ""
    if any(key in header.tensors for key in PREDICTION_KEYS):
        return "v_prediction"
    stated = statements.stated_prediction(header.metadata)
    if stated:
        return stated
    if family == "sd2":
        return "epsilon" if variant or EPSILON_SD2.search(name.lower()) else "v_prediction"
    return ""


def _lacks(header: Header) -> tuple[str, ...]:
    parts = {
        "vae": layouts.find_vae(header.tensors) is not None,
        "text_encoder": layouts.has_text_encoder(header.tensors),
    }
    return tuple(part for part, is_there in parts.items() if not is_there)


def _unusable(header: Header, kind: Kind, family: str, variant: str) -> str:
    if header.is_gguf and (reason := why_not_used(header, family if kind in ("checkpoint", "denoiser") else "")):
        return reason
    if kind == "unknown":
        return "Its tensors have the names of no kind of model that is known here."
    if kind == "upscaler" and family not in BUILT_UPSCALERS:
        return "It is an upscaler of SwinIR's kind; RRDBNet (ESRGAN, Real-ESRGAN) and SRVGGNetCompact are run here."
    if kind == "controlnet":
        return layouts.why_no_controlnet(header.tensors)
    if kind == "ip_adapter":
        return layouts.why_no_ip_adapter(header.tensors)
    if kind not in ("checkpoint", "denoiser"):
        return ""
    denoiser = layouts.find_denoiser(header.tensors)
    if denoiser is None:
        return "It has only averaged weights (model_ema.…), without the plain ones; export it with the plain weights."
    if denoiser.title:
        return f"It is a model of the family {denoiser.title}, which is not loaded from one file."
    if family == "sdxl-refiner":
        return "It is SDXL's refiner, which only works on a picture of SDXL's base; use a checkpoint of the base."
    if variant in _INPUTS:
        return f"It is a model that also takes {_INPUTS[variant]}, which no request has."
    if find_precision(header) in ("nf4", "fp4"):
        return "Its weights are quantised by bitsandbytes; use the file in fp8, fp16 or bf16."
    return ""


_INPUTS = {
    "depth": "a depth map",
    "upscaler": "a small picture to enlarge",
    "control": "a depth map or edges",
    "fill": "a mask in FLUX's own form",
    "pix2pix": "a picture to edit by an instruction",
    "unknown": "inputs of another kind",
}


def _is_weight(key: str, info: TensorInfo) -> bool:
    """Not an averaged copy, a scale or a number of training."""
    return not key.startswith(layouts.EMA_PREFIX) and not key.endswith(("scale_weight", "scale_input")) and len(info.shape) > 0
