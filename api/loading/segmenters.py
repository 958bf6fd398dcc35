"""Models that find the subject of a picture: from a folder to what gives masks.  [torch; no Django]

A folder with a .onnx file is a network with one picture in (1, 3, height, width) and one mask out (1, 1, height, width), as U²-Net, IS-Net
and their like are exported; a preprocessor_config.json beside it says its pixels' mean and standard deviation (default: 0 and 1, pixels of
0..1). Any other is a checkpoint of transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.detectors import onnx_file
from api.loading.onnx import Array, OnnxSession, bytes_of
from api.loading.onnx_files import check_onnx_file

CONFIGURATION = "preprocessor_config.json"
DEFAULT_SIDE, LARGEST_SIDE = 1024, 4096


@dataclass(frozen=True)
class OnnxSegmenter:
    """What a lease gets of an ONNX file."""

    session: OnnxSession
    file: Path
    width: int
    height: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def nbytes(self) -> int:
        return bytes_of(self.file)

    def run(self, pixels: Array) -> Array:
        """(3, height, width) of 0..1 to (height, width): how far each belongs to the subject, as the network says it."""
        scaled = (pixels - np.array(self.mean)[:, None, None]) / np.array(self.deviation)[:, None, None]
        [given] = self.session.types
        found = self.session.run({given: scaled[None].astype(np.float32)})[self.session.outputs[0]]
        return np.asarray(found, np.float32).reshape(found.shape[-2:])


def make_builder() -> Builder:
    return Builder(build=build_segmenter, estimate=estimate_bytes)


def build_segmenter(entry: ModelEntry, folder: Path, device: Device) -> OnnxSegmenter:
    """Load from the folder alone. Raises DarkroomError."""
    file = onnx_file(entry, folder)
    if file is None:
        raise broken(entry, "its folder has no .onnx file")
    return load_onnx(entry, file)


def load_onnx(entry: ModelEntry, file: Path) -> OnnxSegmenter:
    check_onnx_file(file, entry.name)
    try:
        session = OnnxSession(file)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise broken(entry, f"onnxruntime can't open {file.name}") from error
    width, height = read_size(entry, session)
    mean, deviation = read_scaling(entry, file.with_name(CONFIGURATION))
    model = OnnxSegmenter(session, file, width, height, mean, deviation)
    check_output(entry, model)
    return model


def read_size(entry: ModelEntry, session: OnnxSession) -> tuple[int, int]:
    """Width and height of the picture that goes in."""
    if len(session.types) != 1:
        raise broken(entry, f"it has {len(session.types)} inputs, and one picture is given")
    [shape] = session.shapes.values()
    if len(shape) != 4 or shape[1] != 3:
        raise broken(entry, f"its input is {' × '.join(map(str, shape))}, and 1 × 3 × height × width is given")
    height, width = (side if isinstance(side, int) else DEFAULT_SIDE for side in shape[2:])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise broken(entry, f"its input has {width} × {height} pixels")
    return width, height


def read_scaling(entry: ModelEntry, file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels of 0..1."""
    if not file.is_file():
        return (0.0,) * 3, (1.0,) * 3
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
        mean, deviation = (
            tuple(map(float, given.get(name, [value] * 3))) for name, value in (("image_mean", 0), ("image_std", 1))
        )
    except (ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise broken(entry, f"{file.name} can't be read") from error
    if len(mean) != 3 or len(deviation) != 3 or not all(value > 0 for value in deviation):
        raise broken(entry, f"{file.name} must have three numbers in image_mean, and three above 0 in image_std")
    return mean, deviation


def check_output(entry: ModelEntry, model: OnnxSegmenter) -> None:
    """By what comes out for a grey picture, since a file may leave the sizes of its output open."""
    try:
        found = model.run(np.full((3, model.height, model.width), 0.5, np.float32))
    except MemoryError:
        raise
    except Exception as error:  # as above; also of a mask of several channels
        raise broken(entry, f"it gives no mask for a picture of {model.width} × {model.height} pixels") from error
    if not np.isfinite(found).all():
        raise broken(entry, "its mask has values that are no numbers")


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    file = onnx_file(entry, folder)
    return bytes_of(file) if file else 0


def broken(entry: ModelEntry, detail: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be used to cut out: {detail}.")
