"""LoRAs that make a model work in few steps: what they are made for, suggested to those who ask for something else. No torch."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from api.catalog import AdapterEntry, UnknownAdapter
from api.images.spec import Txt2ImgSpec
from api.model_files.header import HeaderError, read_header
from api.model_files.statements import few_step_kind
from config.catalog import get_catalog

OWN = "the model's own"


@dataclass(frozen=True)
class FewSteps:
    """Settings that the authors of such LoRAs name."""

    name: str
    """With its article."""
    most_steps: int
    most_guidance: float
    schedulers: tuple[str, ...]
    own_will_do: bool = False
    """Whether the scheduler that a model has by itself gives good pictures, too."""

    def is_far_from(self, spec: Txt2ImgSpec) -> bool:
        fits_scheduler = spec.scheduler in self.schedulers or (spec.scheduler is None and self.own_will_do)
        return spec.steps > 2 * self.most_steps or spec.guidance_scale > self.most_guidance + 1 or not fits_scheduler

    def suggestion(self) -> str:
        return (
            f"up to {self.most_steps} steps, a guidance_scale of at most {self.most_guidance:g} "
            f"and the scheduler {' or '.join(self.schedulers)}"
        )


FEW_STEPS: Mapping[str, FewSteps] = {
    "lcm": FewSteps("an LCM", 8, 2, ("lcm",)),
    "lightning": FewSteps("a Lightning", 8, 1, ("euler",), own_will_do=True),
    "hyper": FewSteps("a Hyper-SD", 8, 1, ("tcd", "ddim")),
    "turbo": FewSteps("a Turbo", 4, 1, ("euler_a", "euler"), own_will_do=True),
}
"""By the kinds of api/model_files/statements.py."""


def suggest_settings(spec: Txt2ImgSpec) -> Iterator[str]:
    """A sentence for each such LoRA whose settings the request is far from. Nothing is forced: merged models need others."""
    for lora in spec.loras:
        try:
            entry = get_catalog().adapter(lora.id)
        except UnknownAdapter:  # retried after it left the catalog
            continue
        kind = FEW_STEPS.get(kind_of(entry))
        if kind is not None and kind.is_far_from(spec):
            asked = f"{spec.steps}, {spec.guidance_scale:g} and {spec.scheduler or OWN}"
            yield f"loras: '{lora.id}' seems to be {kind.name} LoRA, made for {kind.suggestion()}; asked for are {asked}."


def kind_of(entry: AdapterEntry) -> str:
    """A key of FEW_STEPS, or "" for others. By its names, and by its file's metadata where the file is here."""
    names = (entry.id, entry.name, entry.filename or "", entry.path.stem if entry.path else "")
    by_name = next((kind for name in names if (kind := few_step_kind(name, {}))), "")
    if by_name or entry.path is None:
        return by_name
    try:
        return _kind_by_metadata(entry.path, entry.path.stat().st_mtime_ns)
    except (HeaderError, OSError):  # the worker says what is wrong with it
        return ""


@functools.lru_cache(maxsize=1000)
def _kind_by_metadata(path: Path, version: int) -> str:
    return few_step_kind("", read_header(path).metadata)
