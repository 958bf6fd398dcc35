"""The scheduler of a single file: its family's, changed to what the file or its entry says of noise.  [torch; no Django]"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers

from api.catalog import ModelEntry
from api.model_files.identify import Identity

RESCALING = "DDIMScheduler"
"""Instead of a scheduler that can't be rescaled to zero terminal SNR."""
TRAILING_KINDS = ("lightning", "hyper", "turbo")
"""Distilled models were taught at the last timesteps of equal parts of the schedule."""
SCHNELL = {"shift": 1.0, "use_dynamic_shifting": False}


def make_noise_schedule(entry: ModelEntry, identity: Identity, class_name: str, config: dict[str, Any]) -> Any:
    """`class_name` and `config` are the family's. The entry's fields come before what the file says."""
    if identity.family == "flux":
        return getattr(diffusers, class_name).from_config({**config, **(SCHNELL if identity.variant == "schnell" else {})})
    changes: dict[str, Any] = {}
    if prediction := entry.prediction or identity.prediction:
        changes["prediction_type"] = prediction
    if identity.few_step in TRAILING_KINDS and "beta_schedule" in config:
        changes["timestep_spacing"] = "trailing"
    scheduler_class = getattr(diffusers, class_name)
    if entry.zero_terminal_snr or identity.zero_terminal_snr:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        if "rescale_betas_zero_snr" not in inspect.signature(scheduler_class.__init__).parameters:
            scheduler_class = getattr(diffusers, RESCALING)
    return scheduler_class.from_config({**config, **changes})
