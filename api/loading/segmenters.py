"""Models that find the subject of a picture: from a folder to what gives masks.  [torch; no Django]

A folder with a .onnx file is a network with one picture in (1, 3, height, width) and one mask out (1, 1, height, width), as U²-Net, IS-Net
and their like are exported; a preprocessor_config.json beside it says its pixels' mean and standard deviation (default: 0 and 1, pixels of
0..1). Any other is a checkpoint of transformers, of one of the types below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import (
    AutoImageProcessor,
    AutoModelForMaskGeneration,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
)

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.detectors import LOCAL_ONLY, estimate_bytes, labels_of, load_model, onnx_file
from api.loading.onnx import Array, OnnxSession, bytes_of, open_checked
from api.loading.torch_checkpoints import TorchCheckpoint

CONFIGURATION = "preprocessor_config.json"
DEFAULT_SIDE, LARGEST_SIDE = 1024, 4096
PROMPTED_TASK = "mask-generation"
SEMANTIC = ("segformer", "upernet", "dpt", "beit", "data2vec-vision")
UNIVERSAL = ("mask2former", "maskformer", "detr")
PROMPTED = ("sam", "sam_hq")
"""transformers' model_types that are run: those whose image processors need no torchvision, and whose masks are of the whole picture."""
MODEL_CLASSES = {
    **dict.fromkeys(SEMANTIC, AutoModelForSemanticSegmentation),
    **dict.fromkeys(UNIVERSAL, AutoModelForUniversalSegmentation),
    **dict.fromkeys(PROMPTED, AutoModelForMaskGeneration),
}


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


class TorchSegmenter(TorchCheckpoint):
    """Without labels where it is told where the subject is."""


Segmenter = OnnxSegmenter | TorchSegmenter


def make_builder() -> Builder:
    return Builder(build=build_segmenter, estimate=estimate_bytes)


def build_segmenter(entry: ModelEntry, folder: Path, device: Device) -> Segmenter:
    """Load from the folder alone, in float32 on every device. Raises DarkroomError."""
    file = onnx_file(entry, folder)
    return load_torch(entry, folder) if file is None else load_onnx(entry, file)


def load_torch(entry: ModelEntry, folder: Path) -> TorchSegmenter:
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    known = PROMPTED if entry.task == PROMPTED_TASK else (*SEMANTIC, *UNIVERSAL)
    if model_type not in known:
        raise broken(entry, f"its model_type is {model_type!r}, and for the task {entry.task} there are {', '.join(known)}")
    model = load_model(MODEL_CLASSES[model_type], entry, folder)
    processor = AutoImageProcessor.from_pretrained(folder, **LOCAL_ONLY)
    for name in ("do_center_crop", "do_pad"):
        if model_type in SEMANTIC and getattr(processor, name, False):
            setattr(processor, name, False)  # so that the mask is of the whole picture, and of nothing else
    return TorchSegmenter(model, processor, model_type, () if model_type in PROMPTED else labels_of(model.config.id2label))


def load_onnx(entry: ModelEntry, file: Path) -> OnnxSegmenter:
    session = open_checked(file, entry, broken)
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
    except Exception as error:  # onnxruntime's errors have no base of their own; also of a mask of several channels
        raise broken(entry, f"it gives no mask for a picture of {model.width} × {model.height} pixels") from error
    if not np.isfinite(found).all():
        raise broken(entry, "its mask has values that are no numbers")


def broken(entry: ModelEntry, detail: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be used to cut out: {detail}.")
