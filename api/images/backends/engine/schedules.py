"""A scheduler for each row: copied from one that is prepared once for each name and number of steps.  [torch]"""

from __future__ import annotations

import copy
from typing import Any
from weakref import WeakKeyDictionary

from api.images.backends.schedulers import build_scheduler, check_steps

_prepared: WeakKeyDictionary[Any, dict[tuple[str | None, str, int], Any]] = WeakKeyDictionary()
"""By the model's own scheduler, then by name, family and steps: some take 0.2 s to make."""


def make_row_scheduler(name: str | None, original: Any, family: str, steps: int) -> Any:
    """A scheduler at its first timestep, all of its tables on the CPU, so that no step waits for the device.

    `original`: the model's own. Raises DarkroomError (scheduler_unsupported or steps, 400).
    """
    prepared = _prepared.setdefault(original, {})
    key = name, family, steps
    if key not in prepared:
        prepared[key] = _prepare(name, original, family, steps)
    return copy_scheduler(prepared[key])


def _prepare(name: str | None, original: Any, family: str, steps: int) -> Any:
    scheduler = build_scheduler(name, original, family)
    check_steps(scheduler, steps)
    scheduler.set_timesteps(steps, device="cpu")
    if hasattr(scheduler, "set_begin_index"):
        # Else the second of two equal first timesteps is taken (Karras sigmas rounded to whole ones).
        scheduler.set_begin_index(0)
    return scheduler


def copy_scheduler(scheduler: Any) -> Any:
    """With lists of its own (past outputs); tensors and the configuration are never changed in place, and shared."""
    copied = copy.copy(scheduler)
    for name, value in vars(scheduler).items():
        if isinstance(value, list):
            setattr(copied, name, list(value))
    return copied
