"""What a request is told of the model that it uses: measures that memory needed, weights that are not kept as they were to be.  [torch]"""

from __future__ import annotations

from collections.abc import Collection

from api.catalog import ModelEntry
from api.catalog.storages import measure_of
from api.devices import Device
from api.loading.device_memory import MEASURES
from api.loading.model_leases import LoadedModel

SLOW_FP32 = "{device} has no fast half precision: models run in float32, slowly and with twice the memory."
NOT_STORED = "The weights of {} are not kept in {}: they are packed already, or this device can't compute with them."


def notes_on(model: LoadedModel, entry: ModelEntry, device: Device, asked: Collection[str]) -> list[str]:
    """`asked`: the measures that nobody has to be told of."""
    notes = [MEASURES[name] for name in model.measures if name not in asked]
    if entry.storage and measure_of(entry.storage) not in model.measures:
        notes.append(NOT_STORED.format(entry.name, entry.storage))
    if device.runs_in_slow_fp32:
        notes.append(SLOW_FP32.format(device=device.name))
    return notes
