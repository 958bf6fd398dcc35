"""What an entry is where its single file says it and nobody else does. No torch, no Django."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from api.catalog.entries import ModelEntry
from api.model_files.header import HeaderError, read_header
from api.model_files.identify import Identity, identify
from api.model_files.usability import why_incomplete, why_no_checkpoint

SUFFIX = ".safetensors"

SIZES = {"sd1": 512, "sd2": 768, "sdxl": 1024, "sd3": 1024, "flux": 1024}
STEPS = {"sd3": 28, "flux": 28}
GUIDANCE = {"sdxl": 5.0, "sd3": 4.5, "flux": 3.5}

FEW_STEPS: dict[str, dict[str, Any]] = {
    "lcm": {"scheduler": "lcm", "default_steps": 6, "default_guidance_scale": 1.5},
    "lightning": {"scheduler": "euler_trailing", "default_steps": 4, "default_guidance_scale": 1.0},
    "hyper": {"scheduler": "ddim_trailing", "default_steps": 8, "default_guidance_scale": 0.0},
    "turbo": {"scheduler": "euler_a_trailing", "default_steps": 4, "default_guidance_scale": 0.0},
}
"""How models that were distilled to few steps are used (`Identity.few_step`)."""
STEPS_IN_NAME = re.compile(r"(?<![0-9])([1-9]|1[0-6])[-_ ]?steps?(?![a-z])", re.IGNORECASE)


def defaults_of_file(path: Path) -> dict[str, Any]:
    """Fields of a ModelEntry, by the file's header and name; {} for a file that is not there or can't be read."""
    try:
        return defaults_of(identify(read_header(path), path.name), path.stem)
    except (HeaderError, OSError):
        return {}


def why_not(entry: ModelEntry) -> str:
    """Why an entry's single file can't be loaded, by its header; "" where nothing speaks against it."""
    path = entry.path
    if path is None or not entry.single_file:
        return ""
    try:
        identity = identify(read_header(path), path.name)
    except HeaderError as error:
        return str(error)
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    return why_no_checkpoint(identity) or why_incomplete(identity, path, vae=entry.vae, has_base=bool(entry.base))


def defaults_of(identity: Identity, name: str) -> dict[str, Any]:
    """Fields of a ModelEntry: what fits the file's family, and the way that it was distilled."""
    family = identity.family
    turbo = identity.few_step == "turbo" and family in ("sd2", "sdxl")
    values: dict[str, Any] = {
        "family": family,
        "parameters": identity.parameters,
        "memory": identity.parameters * 2,
        "default_size": 512 if turbo or (family == "sd2" and identity.prediction == "epsilon") else SIZES.get(family, 512),
        "default_steps": STEPS.get(family, 25),
        "default_guidance_scale": GUIDANCE.get(family, 7.0),
    }
    return values | _few_steps(identity, name)


def _few_steps(identity: Identity, name: str) -> dict[str, Any]:
    if identity.variant == "schnell":
        return {"default_steps": 4, "default_guidance_scale": 0.0}
    if not identity.few_step:
        return {}
    values = dict(FEW_STEPS[identity.few_step])
    if stated := STEPS_IN_NAME.search(name):
        values["default_steps"] = int(stated[1])
    if identity.family in STEPS:  # their scheduler is another one, and guidance is an input of the model
        return {"default_steps": values["default_steps"]}
    return values
