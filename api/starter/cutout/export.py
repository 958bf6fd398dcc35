"""From a checkpoint to starter-cutout's file."""

from pathlib import Path

from api.starter.cutout.network import CutoutNetwork, Exported
from api.starter.detector.export import fused, save_onnx

METADATA = {"description": "Darkroom's starter-cutout", "license": "MIT", "task": "segment"}


def export_cutout(network: CutoutNetwork, path: Path) -> None:
    """Any number of pictures (N, 3, 256, 256) of 0..1 to alpha (N, 1, 256, 256) of 0..1."""
    save_onnx(Exported(fused(network)), path, output="alpha", metadata=METADATA)
