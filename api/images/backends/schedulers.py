"""A fresh scheduler for each call, made from the model's own configuration.  [torch]"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import diffusers

from api.catalog.usual_settings import FLOW_FAMILIES
from api.errors import DarkroomError
from api.images.scheduler_presets import SCHEDULERS, Preset, scheduler_names

_SIGMA_SHAPES = {"use_exponential_sigmas": False, "use_beta_sigmas": False}
"""Shapes of the sigma schedule that exclude the Karras one, which a checkpoint's configuration may have switched on."""
_made: dict[str, Any] = {}
_MOST_MADE = 256


def make_scheduler(name: str | None, original: Any, family: str) -> Any:
    """A scheduler with no state: the one that `name` means, or of the class of `original` when `name` is None.

    Betas, prediction type, timestep spacing and offsets of `original` are kept where the new class knows them; only a rescaling
    to zero terminal SNR can be lost, with the classes that don't know it (lms, heun, dpm2, deis …).
    Raises DarkroomError (scheduler_unsupported, 400) when it can't sample this family of models.
    """
    return _begin_at_first_step(build_scheduler(name, original, family))


def check_steps(scheduler: Any, steps: int) -> None:
    """Raises DarkroomError (steps, 400) for more steps than the scheduler can take with this model's configuration.

    A submission can only ask the table (`most_steps`): a model's own scheduler may have a limit, too.
    """
    most = scheduler.config.get("original_inference_steps")
    if most is not None and steps > most:
        raise DarkroomError("steps", 400, f"This scheduler takes at most {most} steps with this model.", field="steps")


def build_scheduler(name: str | None, original: Any, family: str) -> Any:
    """See `make_scheduler`, without what pipelines need to be told."""
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
    return copy.deepcopy(_unused(scheduler_class, original.config, overrides))


def _unused(scheduler_class: Any, config: Any, overrides: dict[str, Any]) -> Any:
    """Made once for each class and configuration: dpm2's classes compute a thousand steps as they are made, 0.1 s of each picture."""
    key = f"{scheduler_class.__name__} {sorted(config.items())} {overrides}"
    if key not in _made:
        if len(_made) >= _MOST_MADE:
            _made.clear()
        _made[key] = scheduler_class.from_config(config, **overrides)
    return _made[key]


def _begin_at_first_step(scheduler: Any) -> Any:
    """Start at index 0 of the timesteps, whatever the pipeline does.

    Where nobody says at which index sampling begins, diffusers looks the first timestep up and takes the second of two equal
    ones: Karras sigmas rounded to whole timesteps begin with equal ones, and the last step then runs off the table. Pipelines
    that start later (image-to-image, inpainting) set their own index after `set_timesteps`.
    """
    if not hasattr(scheduler, "set_begin_index"):
        return scheduler
    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)  # pipelines look at its parameters
    def set_timesteps_and_begin(*args: Any, **options: Any) -> None:
        set_timesteps(*args, **options)
        scheduler.set_begin_index(0)

    scheduler.set_timesteps = set_timesteps_and_begin
    return scheduler


def _choose(preset: Preset, family: str) -> tuple[str, dict[str, Any]]:
    if family in FLOW_FAMILIES:
        return preset.flow_class_name, {}
    return preset.class_name, preset.options
