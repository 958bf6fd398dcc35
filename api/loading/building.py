"""Builds a model and brings it to the device: whole, or with the memory measures that this takes.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.catalog import ModelEntry
from api.catalog.storages import STORAGE_MEASURES, why_no_storage
from api.devices import Device
from api.errors import DarkroomError
from api.loading.device_memory import (
    OutOfMemory,
    apply_measure,
    classify_error,
    copy_weights,
    modules_of,
    size_on_device,
    sizes_stored,
)

OFFLOADING = frozenset({"cpu_offload", "group_offload"})
BY_EXACTNESS = ("int8_storage", "fp8_storage", "nf4_storage")
"""Which of these is taken where a part alone is too large: the first that makes it fit, as its pictures are nearest to those of the whole
weights: what a linear layer of FLUX's width computes, with normally distributed weights, is 41, 30 and 21 dB off (bf16 itself: 56).

int8 and nf4 also pack large text encoders, and fp8 the convolutions of UNets. All are before group_offload, which is exact, but brings
every weight over the bus at every step.
"""


@dataclass(frozen=True, kw_only=True)
class Building:
    entry: ModelEntry
    device: Device
    memory_limit: int
    """Bytes that models may hold on the device."""
    asked: frozenset[str]
    """Measures, by the server's setting and by the entry."""
    forbidden: frozenset[str] = frozenset()
    """Measures that are not taken unasked, by the server's setting."""
    build: Callable[[], Any]
    make_room: Callable[[int], bool]
    """Whether so many bytes are free, or could be made so."""
    too_large: Callable[[int], OutOfMemory]

    def run(self, needed: int) -> tuple[Any, list[str]]:
        """What was built, and the measures. When it does not fit, its components are offloaded if that is possible.

        `needed`: bytes, as estimated. Raises OutOfMemory, and what `build` raises.
        """
        self._check_packages()
        is_shrunk = (
            bool(self.asked & STORAGE_MEASURES.keys()) and self.device.type != "cpu"
        )  # by how much is known when it is built
        must_offload = bool(self.asked & OFFLOADING)
        offload = must_offload or not (is_shrunk or self.make_room(needed))
        if offload and self.device.type == "cpu" and not self.make_room(needed):
            raise self.too_large(needed)
        loaded = self.build()
        stored = self._store_in_few_bits(loaded, offload)
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
        offloaded = [way] if offload and self._may(way) and apply_measure(way, loaded, self.device) else []
        if offload and not offloaded and self.device.type != "cpu":
            raise self.too_large(needed)
        if self.entry.path is not None and (offloaded or self.device.type == "cpu"):
            copy_weights(loaded)
        others = sorted(self.asked - OFFLOADING - STORAGE_MEASURES.keys())
        return loaded, [*stored, *offloaded, *(name for name in others if apply_measure(name, loaded, self.device))]

    def _may(self, measure: str) -> bool:
        return measure in self.asked or measure not in self.forbidden

    def _check_packages(self) -> None:
        for storage in sorted(STORAGE_MEASURES[name] for name in self.asked & STORAGE_MEASURES.keys()):
            if missing := why_no_storage(storage):
                detail = f"{self.entry.name} can't be loaded: its weights are to be kept in {storage}, {missing}"
                raise DarkroomError("missing_package", 500, detail)

    def _needs_layers(self, loaded: object, offload: bool) -> bool:
        """One part alone is larger than what the device may hold, to which offloading brings it whole."""
        return self.device.type == "cuda" and offload and size_on_device(loaded, ["cpu_offload"]) > self.memory_limit

    def _store_in_few_bits(self, loaded: object, offload: bool) -> list[str]:
        """As it was asked for, or as lets the largest part fit."""
        wanted = [name for name in BY_EXACTNESS if name in self.asked]
        if not wanted and self._needs_layers(loaded, offload):
            wanted = self._storage_that_fits(loaded)
        for name in wanted[:1]:
            if name != "fp8_storage":
                self.make_room(sum(sizes_stored(loaded, name)))  # layers are packed on the device
        return [name for name in wanted[:1] if apply_measure(name, loaded, self.device)]

    def _storage_that_fits(self, loaded: object) -> list[str]:
        """Where none does, fp8: less is brought to the device then."""
        usable = [name for name in BY_EXACTNESS if self._may(name) and not why_no_storage(STORAGE_MEASURES[name])]
        fitting = [name for name in usable if max(sizes_stored(loaded, name)) <= self.memory_limit]
        return fitting[:1] or [name for name in usable if name == "fp8_storage"]
