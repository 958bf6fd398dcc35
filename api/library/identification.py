"""What a found file is: its header, its folder and what lies beside it, as the fields of its row. Never opens a pickle."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from api.library.layouts import kind_by_folder
from api.library.models import ENDING, MODEL_KINDS, Kind, LibraryFile, path_key
from api.library.own_settings import KEYS, NONE, OwnSettings, WrongSettings, read_own_settings
from api.library.sidecars import LONGEST_WORD, MOST_WORDS, SidecarInfo, read_sidecars
from api.library.walk import PICKLES, PIPELINE, FoundFile
from api.model_files.gguf import read_any_header
from api.model_files.header import HeaderError
from api.model_files.identify import Identity, identify
from api.model_files.usability import why_incomplete, why_no_checkpoint

log = logging.getLogger("darkroom.library")
Fields = dict[str, Any]
LONGEST = {"name": 300, "licence": 200}
ReasonKind = LibraryFile.ReasonKind

PICKLE = (
    "It is a pickle, which can run code when it is read, so it is never opened. Where you trust it, "
    "`manage.py convert_weights FILE` makes a safetensors file of its weights without running any."
)
NO_FAMILY = "Nothing in it tells which family of models it fits. A table in the file that CATALOG_EXTRA names can say it."
VANISHED = "It vanished while it was read."
PIPELINES = {
    "StableDiffusionPipeline": "",  # sd1 or sd2, by the width of its text encoder
    "StableDiffusionInpaintPipeline": "",
    "StableDiffusionImg2ImgPipeline": "",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLInpaintPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "ZImagePipeline": "z-image",
    "QwenImagePipeline": "qwen-image",
}
WIDTHS = {768: "sd1", 1024: "sd2"}
NAME_IN_FOLDERS = "diffusion_pytorch_model"
LARGEST_CONFIG = 1_000_000


def describe_file(found: FoundFile) -> Fields:
    """All fields of its row but the id and what stays from scan to scan. Never raises: a file that can't be read is described as such."""
    try:
        sidecar = read_sidecars([Path(found.path).parent / name for name in found.sidecars])
        described = describe_content(found, sidecar)
    except FileNotFoundError:
        sidecar, described = SidecarInfo(), unreadable(VANISHED)
    except OSError as error:
        sidecar, described = SidecarInfo(), unreadable(f"It can't be read: {error.strerror}.")
    except Exception:
        log.exception("The file %r can't be identified", found.path)
        sidecar, described = SidecarInfo(), unreadable("It can't be read; the log has more.")
    return {**common_fields(found, sidecar), **described}


def common_fields(found: FoundFile, sidecar: SidecarInfo) -> Fields:
    file_name = os.path.basename(found.path)
    stem = file_name if found.is_folder else os.path.splitext(file_name)[0]
    if stem.startswith(NAME_IN_FOLDERS):  # as diffusers calls the weights of every part: its folder says which it is
        stem = os.path.basename(os.path.dirname(found.path)) + stem.removeprefix(NAME_IN_FOLDERS)
    return {
        "path": found.path,
        "path_key": path_key(found.path),
        "root": found.root,
        "file_name": file_name,
        "stem": stem,
        "is_folder": found.is_folder,
        "size": found.size,
        "mtime_ns": found.mtime_ns,
        "stamp": found.stamp,
        "name": (sidecar.name or stem)[:300],
        "kind": kind_by_folder(found.path),
        "trigger_words": list(sidecar.trigger_words),
        "licence": sidecar.licence,
        "stated_sha256": sidecar.sha256,
        "own_settings": {},
        "preview": found.preview,
        "vae": found.vae,
        "reason": "",
        "reason_kind": ReasonKind.NONE,
    }


def describe_content(found: FoundFile, sidecar: SidecarInfo) -> Fields:
    """Raises OSError."""
    if found.problem:
        return unreadable(found.problem)
    try:
        return describe_with(found, sidecar, read_settings_of(found))
    except WrongSettings as error:
        described = describe_with(found, sidecar, NONE)
        return {**described, **unsupported(str(error))} if described.get("kind") in KEYS else described


def read_settings_of(found: FoundFile) -> OwnSettings:
    """Raises WrongSettings."""
    if not found.own_settings:
        return NONE
    path = Path(found.path)
    return read_own_settings((path if found.is_folder else path.parent) / found.own_settings)


def describe_with(found: FoundFile, sidecar: SidecarInfo, own: OwnSettings) -> Fields:
    """Raises OSError, and WrongSettings where `own` doesn't fit what the file is."""
    lower = found.path.lower()
    if found.is_folder:
        return describe_folder(Path(found.path), own)
    if lower.endswith(PICKLES):
        return {"reason": PICKLE, "reason_kind": ReasonKind.PICKLE}
    try:
        header = read_any_header(Path(found.path))
    except HeaderError as error:
        return unreadable(sentence(str(error)))
    return describe_identity(identify(header, os.path.basename(found.path)), sidecar, Path(found.path), own)


def describe_identity(identity: Identity, sidecar: SidecarInfo, file: Path, own: OwnSettings) -> Fields:
    """Raises WrongSettings."""
    kind = Kind(identity.kind)
    stated = own.of(kind, identity.family)
    family = identity.family or stated.get("family") or sidecar.family
    reason = identity.unusable
    if kind in MODEL_KINDS:
        found = why_no_checkpoint(identity) or why_lacking(identity, file, stated)
        reason = sentence(found) if found else ""
    elif kind in (Kind.LORA, Kind.EMBEDDING, Kind.CONTROLNET, Kind.IP_ADAPTER) and not family and not reason:
        reason = NO_FAMILY
    words = trigger_words_of(stated) or sidecar.trigger_words or identity.trigger_words
    return {
        "kind": kind,
        "family": family[:40],
        "variant": identity.variant[:40],
        "prediction": stated.get("prediction") or identity.prediction,
        "zero_terminal_snr": stated.get("zero_terminal_snr", identity.zero_terminal_snr),
        "precision": identity.precision[:20],
        "few_step": identity.few_step,
        "trigger_words": list(words),
        "lacks": list(identity.lacks),
        "parameters": identity.parameters,
        **fields_of(stated),
        **(unsupported(reason) if reason else {}),
    }


def why_lacking(identity: Identity, file: Path, stated: Fields) -> str:
    parts = {"has_base": bool(stated.get("base")), "has_encoders": bool(stated.get("text_encoders"))}
    found = why_incomplete(identity, file, vae=stated.get("vae", ""), **parts)
    return f"{found}. {file.with_suffix(ENDING).name} beside it can name them, too" if found else ""


def fields_of(stated: Fields) -> Fields:
    """Of the owner's settings, with what of them every list shows."""
    shown_everywhere = {key: str(stated[key])[:longest] for key, longest in LONGEST.items() if stated.get(key)}
    return {"own_settings": stated, **shown_everywhere}


def trigger_words_of(stated: Fields) -> list[str]:
    return [word for part in stated.get("trigger", "").split(",") if (word := part.strip()[:LONGEST_WORD])][:MOST_WORDS]


def describe_folder(folder: Path, own: OwnSettings) -> Fields:
    """A model in diffusers' layout, by its model_index.json. Raises WrongSettings."""
    index = read_config(folder / PIPELINE)
    name = index.get("_class_name")
    family = PIPELINES.get(name) if isinstance(name, str) else None
    described: Fields = {"kind": Kind.CHECKPOINT}
    if family is None:
        return {**described, **unsupported(f"Its model_index.json names {shown(name)}, and no such pipeline is used here.")}
    if not family:
        unet = read_config(folder / "unet" / "config.json")
        family = WIDTHS.get(unet.get("cross_attention_dim", 0), "")
        if not family:
            return {**described, **unsupported("Its unet/config.json is of no Stable Diffusion 1 or 2.")}
        described["prediction"] = prediction_of(folder)
    stated = own.of(Kind.CHECKPOINT, family)
    variant = "inpainting" if "Inpaint" in str(name) else ""
    return {**described, "family": family, "variant": variant, **fields_of(stated)} | {
        key: stated[key] for key in ("prediction", "zero_terminal_snr") if stated.get(key, "") != ""
    }


def prediction_of(folder: Path) -> str:
    stated = read_config(folder / "scheduler" / "scheduler_config.json").get("prediction_type")
    return stated if stated in ("epsilon", "v_prediction") else ""


def read_config(file: Path) -> dict[str, Any]:
    """{} where there is none, or none that can be read."""
    try:
        with file.open("rb") as stream:
            content = json.loads(stream.read(LARGEST_CONFIG))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def shown(value: object) -> str:
    return f"'{value[:60]}'" if isinstance(value, str) and value.isprintable() else "no pipeline"


def unreadable(reason: str) -> Fields:
    return {"reason": reason, "reason_kind": ReasonKind.UNREADABLE}


def unsupported(reason: str) -> Fields:
    return {"reason": reason, "reason_kind": ReasonKind.UNSUPPORTED}


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
