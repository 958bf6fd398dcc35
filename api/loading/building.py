"""Builds a model and brings it to the device: whole, or with the memory measures that this takes.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.catalog import ModelEntry
from api.devices import Device
from api.loading.device_memory import OutOfMemory, apply_measure, classify_error, copy_weights, modules_of, size_on_device

OFFLOADING = frozenset({"cpu_offload", "group_offload"})


@dataclass(frozen=True, kw_only=True)
class Building:
    entry: ModelEntry
    device: Device
    memory_limit: int
    """Bytes that models may hold on the device."""
    asked: frozenset[str]
    """Measures, by the server's setting and by the entry."""
    build: Callable[[], Any]
    make_room: Callable[[int], bool]
    """Whether so many bytes are free, or could be made so."""
    too_large: Callable[[int], OutOfMemory]

    def run(self, needed: int) -> tuple[Any, list[str]]:
        """What was built, and the measures. When it does not fit, its components are offloaded if that is possible.

        `needed`: bytes, as estimated. Raises OutOfMemory, and what `build` raises.
        """
        is_shrunk = "fp8_storage" in self.asked and self.device.type != "cpu"  # by how much is known when it is built
        must_offload = bool(self.asked & OFFLOADING)
        offload = must_offload or not (is_shrunk or self.make_room(needed))
        if offload and self.device.type == "cpu" and not self.make_room(needed):
            raise self.too_large(needed)
        loaded = self.build()
        stored = self._store_in_fp8(loaded, offload)
        if stored or is_shrunk:
            needed = size_on_device(loaded, stored)
            offload = must_offload or not self.make_room(needed)
        if not offload:
            try:
                for module in modules_of(loaded).values():
                    module.to(self.device.torch_device)
            except Exception as error:
                if classify_error(error) != "oom":
                    raise
                offload = True
        way = "group_offload" if self._needs_layers(loaded, offload) or "group_offload" in self.asked else "cpu_offload"
        offloaded = [way] if offload and apply_measure(way, loaded, self.device) else []
        if offload and not offloaded and self.device.type != "cpu":
            raise self.too_large(needed)
        if self.entry.path is not None and (offloaded or self.device.type == "cpu"):
            copy_weights(loaded)
        others = sorted(self.asked - OFFLOADING - {"fp8_storage"})
        return loaded, [*stored, *offloaded, *(name for name in others if apply_measure(name, loaded, self.device))]

    def _needs_layers(self, loaded: object, offload: bool) -> bool:
        """One part alone is larger than what the device may hold, to which offloading brings it whole."""
        return self.device.type == "cuda" and offload and size_on_device(loaded, ["cpu_offload"]) > self.memory_limit

    def _store_in_fp8(self, loaded: object, offload: bool) -> list[str]:
        """Where it was asked for, or where that may let the largest part fit."""
        is_wanted = "fp8_storage" in self.asked or self._needs_layers(loaded, offload)
        return ["fp8_storage"] if is_wanted and apply_measure("fp8_storage", loaded, self.device) else []
