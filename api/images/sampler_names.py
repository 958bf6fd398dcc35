"""From other programs' names of samplers and noise schedules to ours."""

import re

from api.images.scheduler_presets import KARRAS, SCHEDULERS

PLAIN_SCHEDULES = {"", "normal", "simple", "uniform", "native", "default", "sgm_uniform", "ddim_uniform", "discrete"}
AUTOMATIC = "automatic"
AUTOMATIC_KARRAS = {"dpmpp_2m", "dpm2", "dpm2_a"}
"""Where AUTOMATIC1111 takes Karras's noise levels by itself."""
BY_LABEL = {preset.label.lower(): name for name, preset in SCHEDULERS.items()}
OTHERS = {
    "euler_ancestral": "euler_a",
    "euler_ancestral_cfg_pp": "euler_a",
    "euler_cfg_pp": "euler",
    "dpm_2": "dpm2",
    "dpm_2_ancestral": "dpm2_a",
    "kdpm_2": "dpm2",
    "kdpm_2_a": "dpm2_a",
    "dpm2_ancestral": "dpm2_a",
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "plms": "pndm",
    "ddim_v3": "ddim",
}


def find_scheduler(sampler: str, schedule: str = "") -> tuple[str | None, str]:
    """Our name, or None where we have no such sampler; and a sentence where something else is used, or nothing."""
    name = our_name(sampler)
    if name is None:
        return None, f"There is no sampler '{sampler}' here; the model's own is used."
    wanted = re.sub(r"[\s-]+", "_", schedule.strip().lower())
    if name.endswith(KARRAS):
        return name, ""
    with_karras = name + KARRAS
    if (wanted == "karras" or (wanted == AUTOMATIC and name in AUTOMATIC_KARRAS)) and with_karras in SCHEDULERS:
        return with_karras, ""
    if wanted in PLAIN_SCHEDULES or wanted == AUTOMATIC:
        return name, ""
    return name, f"The noise schedule '{schedule}' does not go with {name} here; its own is used."


def our_name(sampler: str) -> str | None:
    folded = sampler.strip().lower()
    if folded in BY_LABEL:
        return BY_LABEL[folded]
    name = re.sub(r"[\s-]+", "_", folded.replace("dpm++", "dpmpp")).removeprefix("k_")
    karras = re.fullmatch(r"(.+)_(?:k|karras)", name)
    base = karras[1] if karras else name
    base = OTHERS.get(base, base)
    wanted = base + KARRAS if karras and base + KARRAS in SCHEDULERS else base
    return wanted if wanted in SCHEDULERS else None
