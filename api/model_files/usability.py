"""Why a file can't be used as a checkpoint, in a clause. No torch, no Django."""

from __future__ import annotations

from pathlib import Path

from api.model_files.identify import BUILT_FAMILIES, Identity

KINDS = {
    "lora": "it is a LoRA, which an entry of [adapters] names",
    "embedding": "it is an embedding, which an entry of [embeddings] names",
    "vae": "it is a VAE alone, which an entry of a model names by `vae`",
    "upscaler": 'it is an upscaler, which an entry of a model names with task = "upscaling"',
    "controlnet": "it is a ControlNet",
    "ip_adapter": "it is an IP-Adapter",
    "image_encoder": "it is what reads the pictures of IP-Adapters",
    "text_encoder": "it is a text encoder alone",
}
ENCODER_FILES = {
    "sd3": "name the files clip_l, clip_g and t5xxl in the catalog (`text_encoders`), or ",
    "flux": "name the files clip_l and t5xxl in the catalog (`text_encoders`), or ",
}
BASE = "name a model of the same family in diffusers' form in the catalog (`base`), whose own is taken"


def why_no_checkpoint(identity: Identity) -> str:
    """ "" where it is one that can be built."""
    if identity.kind in KINDS:
        return f"it is no checkpoint: {KINDS[identity.kind]}"
    if identity.unusable:
        return as_clause(identity.unusable)
    if identity.family not in BUILT_FAMILIES:
        return "it is of no family that is loaded from one file"
    return ""


def as_clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def why_no_upscaler(identity: Identity) -> str:
    """ "" where it is one that can be built."""
    if identity.kind != "upscaler":
        return f"it is no upscaler: {KINDS.get(identity.kind) or f'it is of the kind {identity.kind}'}"
    return as_clause(identity.unusable)


def why_not_of_kind(identity: Identity, task: str) -> str:
    """Of an entry for the task "ip-adapter" or "image-encoder": "" where it is one."""
    wanted = task.replace("-", "_")
    if identity.kind != wanted:
        return KINDS.get(identity.kind) or f"it is of the kind {identity.kind}"
    return as_clause(identity.unusable)


def why_incomplete(identity: Identity, file: Path, *, vae: str, has_base: bool, has_encoders: bool = False) -> str:
    """ "" where every part is in the file, or the entry says where it is."""
    lacks = ("vae", "text_encoder") if identity.kind == "denoiser" else identity.lacks
    if has_base:
        return ""
    if "text_encoder" in lacks and not has_encoders:
        return missing_part(file, "text_encoder", identity.family)
    if "vae" in lacks and not vae and not vae_beside(file).is_file():
        return missing_part(file, "vae", identity.family)
    return ""


def missing_part(file: Path, part: str, family: str) -> str:
    if part == "vae":
        beside = f"put it beside the checkpoint as {vae_beside(file).name}"
        return f"it has no vae; name one in the catalog (`vae`, a file), or {beside}"
    encoders = ENCODER_FILES.get(family, "") if part.startswith("text_encoder") else ""
    return f"it has no {part}; {encoders}{BASE}"


def vae_beside(file: Path) -> Path:
    """The VAE that AUTOMATIC1111 takes for a checkpoint by its name."""
    return file.with_suffix(".vae.safetensors")
