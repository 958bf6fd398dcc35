"""A fresh scheduler for each call, made from the model's own configuration.  [torch]"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers

from api.errors import DarkroomError
from api.images.scheduler_presets import FLOW_FAMILIES, SCHEDULERS, Preset, scheduler_names

_SIGMA_SHAPES = {"use_exponential_sigmas": False, "use_beta_sigmas": False}
"""Shapes of the sigma schedule that exclude the Karras one, which a checkpoint's configuration may have switched on."""


def make_scheduler(name: str | None, original: Any, family: str) -> Any:
    """A scheduler with no state: the one that `name` means, or of the class of `original` when `name` is None.

    Betas, prediction type, timestep spacing and offsets of `original` are kept where the new class knows them; only a rescaling
    to zero terminal SNR can be lost, with the classes that don't know it (lms, heun, dpm2, deis …).
    Raises DarkroomError (scheduler_unsupported, 400) when it can't sample this family of models.
    """
    if name is None:
        return type(original).from_config(original.config)
    preset = SCHEDULERS.get(name)
    if preset is None or not preset.fits(family):
        raise DarkroomError(
            "scheduler_unsupported",
            400,
            f"The scheduler '{name}' does not work with this model; use one of {', '.join(scheduler_names(family))}.",
            field="scheduler",
        )
    class_name, options = _choose(preset, family)
    scheduler_class = getattr(diffusers, class_name)
    known = inspect.signature(scheduler_class.__init__).parameters
    overrides = {key: value for key, value in {**_SIGMA_SHAPES, **options}.items() if key in known}
    return scheduler_class.from_config(original.config, **overrides)


def _choose(preset: Preset, family: str) -> tuple[str, dict[str, Any]]:
    if family in FLOW_FAMILIES:
        return preset.flow_class_name, {}
    return preset.class_name, preset.options
