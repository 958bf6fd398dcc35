"""The schedulers that a request may name, as plain data. No torch: serializers and the API's documentation read this.

`euler_a`, `dpmpp_2m_karras` … are the field's usual names; `label` is what AUTOMATIC1111 calls the same sampler, and what is
written into a picture's `parameters` text. A preset says which diffusers class it is and what it sets; everything else (betas,
prediction type, and most often timestep spacing) comes from the model's own configuration (backends/schedulers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from api.catalog.usual_settings import FLOW_FAMILIES

UNET_FAMILIES = frozenset({"sd1", "sd2", "sdxl"})
"""Families of noise-predicting UNets, whose requests share the engine's passes (backends/engine)."""
MOST_STEPS = 150
"""Of any request."""


@dataclass(frozen=True)
class Preset:
    """A scheduler by name: its class and settings for noise-predicting models, and for flow-matching ones where it exists."""

    label: str
    class_name: str
    options: dict[str, Any] = field(default_factory=dict)
    flow_class_name: str = ""
    """Its form for flow-matching models. Only few have one that the pipelines of all three tasks can drive, seeds included."""
    flow_families: frozenset[str] = FLOW_FAMILIES
    eta: float = 0.0
    """How much noise each step adds again, for the schedulers that leave it to the caller (0 is deterministic)."""
    max_steps: int = MOST_STEPS
    """How many steps it can be run with: those for distilled models take theirs out of the schedule of the distillation."""

    def fits(self, family: str) -> bool:
        if family in FLOW_FAMILIES:
            return bool(self.flow_class_name) and family in self.flow_families
        return True


_KARRAS = {"use_karras_sigmas": True}
_PLAIN = {"use_karras_sigmas": False}
_UNCLIPPED = {"clip_sample": False}
"""Clipping to [-1, 1] is for models of pixels; some checkpoints leave it out of their configuration, and the default is on."""
_TRAILING = {"timestep_spacing": "trailing"}
"""The last timestep of each part of the schedule, whatever the checkpoint's spacing: what models of few steps were distilled at."""
_SD3 = frozenset({"sd3"})

SCHEDULERS: MappingProxyType[str, Preset] = MappingProxyType(
    {
        "ddim": Preset("DDIM", "DDIMScheduler", _UNCLIPPED),
        "ddim_trailing": Preset("DDIM Trailing", "DDIMScheduler", {**_UNCLIPPED, **_TRAILING}),
        "ddpm": Preset("DDPM", "DDPMScheduler", _UNCLIPPED),
        "pndm": Preset("PLMS", "PNDMScheduler", {"skip_prk_steps": True}),
        "lms": Preset("LMS", "LMSDiscreteScheduler", _PLAIN),
        "lms_karras": Preset("LMS Karras", "LMSDiscreteScheduler", _KARRAS),
        "heun": Preset("Heun", "HeunDiscreteScheduler", _PLAIN, "FlowMatchHeunDiscreteScheduler", _SD3),
        "euler": Preset("Euler", "EulerDiscreteScheduler", _PLAIN, "FlowMatchEulerDiscreteScheduler"),
        "euler_trailing": Preset("Euler Trailing", "EulerDiscreteScheduler", {**_PLAIN, **_TRAILING}),
        "euler_karras": Preset("Euler Karras", "EulerDiscreteScheduler", _KARRAS),
        "euler_a": Preset("Euler a", "EulerAncestralDiscreteScheduler"),
        "euler_a_trailing": Preset("Euler a Trailing", "EulerAncestralDiscreteScheduler", _TRAILING),
        "dpm2": Preset("DPM2", "KDPM2DiscreteScheduler", _PLAIN),
        "dpm2_karras": Preset("DPM2 Karras", "KDPM2DiscreteScheduler", _KARRAS),
        "dpm2_a": Preset("DPM2 a", "KDPM2AncestralDiscreteScheduler", _PLAIN),
        "dpm2_a_karras": Preset("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", _KARRAS),
        "dpmpp_2m": Preset("DPM++ 2M", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_PLAIN}),
        "dpmpp_2m_karras": Preset(
            "DPM++ 2M Karras", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}
        ),
        "dpmpp_2m_sde": Preset("DPM++ 2M SDE", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_PLAIN}),
        "dpmpp_2m_sde_karras": Preset(
            "DPM++ 2M SDE Karras", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_KARRAS}
        ),
        "dpmpp_2s": Preset("DPM++ 2S", "DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", **_PLAIN}),
        "dpmpp_2s_karras": Preset(
            "DPM++ 2S Karras", "DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}
        ),
        "unipc": Preset("UniPC", "UniPCMultistepScheduler", _PLAIN),
        "unipc_karras": Preset("UniPC Karras", "UniPCMultistepScheduler", _KARRAS),
        "deis": Preset("DEIS", "DEISMultistepScheduler", _PLAIN),
        "lcm": Preset("LCM", "LCMScheduler", _UNCLIPPED, max_steps=50),
        "tcd": Preset("TCD", "TCDScheduler", _UNCLIPPED, eta=0.3, max_steps=50),
    }
)

SCHEDULER_NAMES: tuple[str, ...] = tuple(SCHEDULERS)


def scheduler_names(family: str) -> tuple[str, ...]:
    """The names that work with models of `family`."""
    return tuple(name for name, preset in SCHEDULERS.items() if preset.fits(family))


def why_no_scheduler(name: str, family: str) -> str:
    """The rest of a sentence about what names it; "" where it works with models of `family`."""
    known = scheduler_names(family)
    return "" if name in known else f"is {name!r}, which does not work with it; there are {', '.join(known)}"


def scheduler_of_class(class_name: str) -> str | None:
    """The plainest scheduler of a class of diffusers', such as euler_a for EulerAncestralDiscreteScheduler."""
    if not class_name:
        return None
    return next(
        (name for name, preset in SCHEDULERS.items() if class_name in (preset.class_name, preset.flow_class_name)), None
    )


def most_steps(name: str | None) -> int:
    """How many steps a request with this scheduler may ask for; None is the model's own."""
    return SCHEDULERS[name].max_steps if name else MOST_STEPS


KARRAS = "_karras"
"""How the names of those end that are run at Karras's noise levels; each is there without them, too."""


def scheduler_labels(name: str | None) -> tuple[str, str]:
    """AUTOMATIC1111's names for a scheduler and for its noise levels; '' for what is the model's own, or the scheduler's."""
    if name and name.endswith(KARRAS):
        return scheduler_label(name.removesuffix(KARRAS)), "Karras"
    return scheduler_label(name), ""


def scheduler_label(name: str | None) -> str:
    """AUTOMATIC1111's name for a scheduler; '' for the model's own."""
    preset = SCHEDULERS.get(name or "")
    return preset.label if preset else ""
