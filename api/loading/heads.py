"""Heads that judge a CLIP embedding: LAION's aesthetic predictors, from one safetensors file.  [torch; no Django]

Which of them a file holds is told by its keys. Where the head is one part of a larger checkpoint, the rest is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.conversion import NotConvertible, RecognisedCheckpoint
from api.loading.device_memory import bytes_in_dtype
from api.model_files.header import HeaderError, read_header

KEY = re.compile(r"(?:(?:predictor|head|model)\.)*(?P<name>(?:layers\.\d+\.)?(?:weight|bias))")


@dataclass(frozen=True)
class HeadLayout:
    """`indices`: the numbers of its linear layers in the file; () for a single one without a number."""

    name: str
    indices: tuple[int, ...]
    relu: bool = False
    widths: tuple[int, ...] = ()
    """What the layers between give; () where there are none."""


LAYOUTS = (
    HeadLayout("LAION v1 (linear)", ()),
    HeadLayout("LAION v2 linearMSE", (0, 2, 4, 6, 7), widths=(1024, 128, 64, 16)),
    HeadLayout("LAION v2 reluMSE", (0, 3, 6, 9, 11), relu=True, widths=(1024, 128, 64, 16)),
)


class Head(torch.nn.Module):
    """(N, width) embeddings of length 1 to (N,) scores, 1 to 10. In fp32 always: it is tiny, and its first layer sums thousands."""

    def __init__(self, layout: HeadLayout, linears: Sequence[torch.nn.Linear]) -> None:
        super().__init__()
        self.layout, self.width = layout, linears[0].in_features
        activations = [torch.nn.ReLU()] if layout.relu else []
        layers = [step for linear in linears[:-1] for step in (linear, *activations)]
        self.layers = torch.nn.Sequential(*layers, linears[-1])

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layers(embeddings)).squeeze(-1)


def make_builder() -> Builder:
    return Builder(build=build_head, estimate=estimate_bytes)


def build_head(entry: ModelEntry, folder: Path, device: Device) -> Head:
    """Raises DarkroomError where the file is damaged, or holds no head that is known here."""
    file = _file_of(entry, folder)
    try:
        with safe_open(file, framework="pt") as opened:
            names = find_head(opened.keys())
            return make_head({name: opened.get_tensor(key) for name, key in names.items()}).eval().requires_grad_(False)
    except UnknownHead as error:
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: {error}") from error


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    file = _file_of(entry, folder)
    try:
        tensors = read_header(file).tensors
        keys = set(find_head(tensors).values())
    except UnknownHead as error:
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: {error}") from error
    except (HeaderError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {file.name} of {entry.name} is damaged: {error}.") from error
    return bytes_in_dtype([tensors[key] for key in keys], torch.float32)


def _file_of(entry: ModelEntry, folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise DarkroomError("broken_model", 422, f"{entry.name} must be one safetensors file; its folder has {len(files)}.")
    return files[0]


# -- Recognising -------------------------------------------------------------------------------------------------------------


class UnknownHead(ValueError):
    """The message says what was looked for."""


def find_head(keys: Iterable[str]) -> dict[str, str]:
    """The head's own names ("weight", "layers.0.bias") with the keys that they have in the file. Raises UnknownHead."""
    found = {match["name"]: key for key in keys if (match := KEY.fullmatch(key))}
    if found:
        recognise(found)
        return found
    raise UnknownHead(f"its keys are of no head that is known here ({', '.join(layout.name for layout in LAYOUTS)}).")


def recognise(names: Iterable[str]) -> HeadLayout:
    """By its names alone. Raises UnknownHead."""
    present = set(names)
    for layout in LAYOUTS:
        indices = [f"layers.{index}." for index in layout.indices] or [""]
        if present == {index + part for index in indices for part in ("weight", "bias")}:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise UnknownHead(f"its keys ({', '.join(sorted(present)[:4])} …) are of no head that is known here ({known}).")


def recognise_checkpoint(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint | None:
    """For `api.loading.conversion`. None where the keys are of no head; raises NotConvertible where the shapes don't fit."""
    try:
        names = find_head(tensors)
    except UnknownHead:
        return None
    kept = {name: tensors[key].float() for name, key in names.items()}
    try:
        head = make_head(kept)
    except UnknownHead as error:
        raise NotConvertible(f"It has the keys of {recognise(kept).name}, but {error}") from error
    return RecognisedCheckpoint(head.layout.name, "aesthetic-head", "laion", kept, needs_base=True, width=head.width)


def make_head(tensors: Mapping[str, torch.Tensor]) -> Head:
    """From the head's own names. Raises UnknownHead where the shapes don't fit each other."""
    layout = recognise(tensors)
    linears: list[torch.nn.Linear] = []
    for index in layout.indices or ("",):
        prefix = f"layers.{index}." if index != "" else ""
        linears.append(_linear(tensors[prefix + "weight"], tensors[prefix + "bias"]))
    outputs = [linear.out_features for linear in linears]
    inputs = [linear.in_features for linear in linears[1:]]
    if tuple(outputs) != (*layout.widths, 1) or tuple(inputs) != layout.widths:
        raise UnknownHead(f"its layers give {outputs}, where {layout.name} gives {[*layout.widths, 1]}.")
    return Head(layout, linears)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise UnknownHead(f"a layer's weight is {tuple(weight.shape)} and its bias {tuple(bias.shape)}.")
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data.copy_(weight)
    linear.bias.data.copy_(bias)
    return linear
