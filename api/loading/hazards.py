"""Hazard models (YOLIC: what is in each cell of interest): from a folder to what answers for pictures.  [torch; no Django]

    cells.json             what the outputs mean (api/loading/hazard_cells.py)
    model.safetensors      a MobileNetV2 under torchvision's names; or
    *.onnx                 any network: one picture in (1, 3, height, width), all cells' outputs out (1, cells × (classes + 1))

Su et al., "YOLIC: An Efficient Method for Object Localization and Classification on Edge Devices", arXiv:2307.06689.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.device_memory import estimate_files
from api.loading.hazard_cells import FILE, CellLayout, InvalidCells, read_cells
from api.loading.mobilenet import SIZE, MobileNetV2, NotMobileNet, network_of
from api.loading.onnx import Array, OnnxSession, bytes_of, open_checked

WEIGHTS = "model.safetensors"
FLOATS = ("tensor(float)", "tensor(float16)")
LARGEST_SIDE = 2048


@dataclass(frozen=True)
class TorchHazardModel:
    """What a lease gets of weights in safetensors."""

    network: MobileNetV2
    layout: CellLayout
    width: int = SIZE
    height: int = SIZE

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"network": self.network}

    def run(self, pictures: Array) -> Array:
        """(N, 3, height, width) of 0..1 to (N, outputs)."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            answers: Array = self.network(torch.from_numpy(pictures).to(device)).float().cpu().numpy()
        return answers


@dataclass(frozen=True)
class OnnxHazardModel:
    """What a lease gets of an ONNX file; it is given one picture at a time, since files are exported for one."""

    session: OnnxSession
    file: Path
    layout: CellLayout
    width: int
    height: int

    @property
    def nbytes(self) -> int:
        return bytes_of(self.file)

    def run(self, pictures: Array) -> Array:
        [given], [output] = self.session.types, self.session.outputs
        answers = [self.session.run({given: pictures[place : place + 1]})[output] for place in range(len(pictures))]
        return np.concatenate(answers).astype(np.float32)


HazardModel = TorchHazardModel | OnnxHazardModel


def make_builder() -> Builder:
    return Builder(build=build_hazard_model, estimate=estimate_bytes)


def build_hazard_model(entry: ModelEntry, folder: Path, device: Device) -> HazardModel:
    """Load from the folder alone, in float32 on every device: these networks are small. Raises DarkroomError."""
    try:
        layout = read_cells(folder / FILE)
        file = onnx_file(folder)
        return load_onnx(entry, file, layout) if file else load_torch(folder / WEIGHTS, layout)
    except (InvalidCells, NotMobileNet) as error:
        raise broken(entry, str(error)) from error


def load_torch(file: Path, layout: CellLayout) -> TorchHazardModel:
    """Raises NotMobileNet, InvalidCells."""
    try:
        network = network_of(load_file(file))
    except SafetensorError as error:
        raise NotMobileNet(f"{file.name} is damaged") from error
    layout.check_outputs(network.outputs)
    return TorchHazardModel(network, layout)


def load_onnx(entry: ModelEntry, file: Path, layout: CellLayout) -> OnnxHazardModel:
    """Raises DarkroomError, InvalidCells."""
    session = open_checked(file, entry, broken)
    width, height = read_size(entry, session)
    model = OnnxHazardModel(session, file, layout, width, height)
    layout.check_outputs(count_outputs(entry, model))
    return model


def read_size(entry: ModelEntry, session: OnnxSession) -> tuple[int, int]:
    """Width and height of the picture that goes in; YOLIC's where the file leaves them open."""
    inputs, outputs = session.session.get_inputs(), session.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise broken(entry, f"it has {len(inputs)} inputs and {len(outputs)} outputs, and one of each is used")
    shape: list[Any] = list(inputs[0].shape)
    takes_one = not isinstance(shape[0], int) or shape[0] == 1
    if len(shape) != 4 or shape[1] != 3 or not takes_one:
        raise broken(entry, f"its input is {' × '.join(map(str, shape))}, and 1 × 3 × height × width is given")
    if inputs[0].type not in FLOATS:
        raise broken(entry, f"its input is a {inputs[0].type}, and float32 or float16 is given")
    height, width = (side if isinstance(side, int) else SIZE for side in shape[2:])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise broken(entry, f"its input has {width} × {height} pixels")
    return width, height


def count_outputs(entry: ModelEntry, model: OnnxHazardModel) -> int:
    """By what comes out for a grey picture, since a file may leave the sizes of its output open."""
    try:
        answers = model.run(np.full((1, 3, model.height, model.width), 0.5, np.float32))
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise broken(entry, f"it can't be run on a picture of {model.width} × {model.height} pixels") from error
    if answers.ndim != 2 or len(answers) != 1:
        raise broken(entry, f"its output is {' × '.join(map(str, answers.shape))}, and 1 × outputs is wanted")
    return int(answers.shape[1])


def onnx_file(folder: Path) -> Path | None:
    """The first by name; it goes before weights in safetensors, since it is several times faster on a processor."""
    return min(folder.glob("*.onnx"), default=None)


def broken(entry: ModelEntry, reason: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be used for hazards: {reason}.")


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    file = onnx_file(folder)
    return bytes_of(file) if file else estimate_files(entry, folder, [folder / WEIGHTS], torch.float32)
