"""Size, steps, guidance and scheduler of a model that nobody has described: by its family and distillation. No torch, no Django."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    size: int = 512
    """Pixels of a side."""
    steps: int = 25
    guidance_scale: float = 7.0
    scheduler: str = ""
    """A name of api/images/scheduler_presets.py; "" is the model's own."""


FAMILIES = {
    "sdxl": Settings(1024, 30, 5.0),
    "sd3": Settings(1024, 28, 4.5),
    "flux": Settings(1024, 28, 3.5),
    "z-image": Settings(1024, 9, 0.0),
    "qwen-image": Settings(1024, 50, 4.0),
}
FLOW_FAMILIES = frozenset({"sd3", "flux", "z-image", "qwen-image"})
"""Families of flow-matching models: their samplers follow other equations than those of noise-predicting models."""
SD2_WITH_V = 768
"""The side of a picture of Stable Diffusion 2 with v-prediction."""
SMALL = 512
"""The side of a picture of SDXL-Turbo."""
FEW_STEPS: dict[str, tuple[int, float, str]] = {
    "lcm": (6, 1.5, "lcm"),
    "lightning": (4, 1.0, "euler_trailing"),
    "hyper": (8, 1.0, "ddim_trailing"),
    "turbo": (4, 0.0, "euler_a_trailing"),
}
"""Steps, guidance and scheduler by `Identity.few_step`."""
STEPS_IN_NAME = re.compile(r"(?<![0-9])([1-9]|1[0-6])[-_ ]?steps?(?![a-z])", re.IGNORECASE)


def usual_settings(family: str, variant: str, prediction: str, few_step: str, name: str) -> Settings:
    """`name` is the file's, which may say for how many steps it was distilled ("sdxl_lightning_4step")."""
    found = FAMILIES.get(family, Settings())
    if (family, prediction) == ("sd2", "v_prediction"):
        found = replace(found, size=SD2_WITH_V)
    if variant == "schnell":
        return replace(found, steps=4, guidance_scale=0.0)
    if few_step not in FEW_STEPS:
        return found
    steps, guidance_scale, scheduler = FEW_STEPS[few_step]
    if stated := STEPS_IN_NAME.search(name):
        steps = int(stated[1])
    if family in FLOW_FAMILIES:
        return replace(found, steps=steps)
    size = SMALL if few_step == "turbo" and is_official_turbo(name) else found.size
    return Settings(size, steps, guidance_scale, scheduler)


def is_official_turbo(name: str) -> bool:
    """SDXL-Turbo itself makes small pictures; what others merged with it makes large ones."""
    return re.match(r"sd_?xl_turbo", name, re.IGNORECASE) is not None
