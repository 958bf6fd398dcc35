"""Small hazard models: an ONNX file that sees what is dark and what is red in each quarter, and MobileNetV2s with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from api.loading.mobilenet import MobileNetV2

QUARTERS: dict[str, Any] = {
    "reference": {"width": 80, "height": 60},
    "boxes": [[0, 0, 40, 30], [40, 0, 80, 30], [0, 30, 40, 60], [40, 30, 80, 60]],
    "classes": ["tối", "red"],
}
SIDE = 8


def write_cells(folder: Path, cells: Any = QUARTERS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.json").write_text(cells if isinstance(cells, str) else json.dumps(cells))
    return folder


def build_quarters(folder: Path, *, half: bool = False, probabilities: bool = False) -> Path:
    """Logits 20 × (0.5 - brightness), 20 × (redness - 0.5) and 20 × (brightness - 0.5) of each quarter."""
    kind = np.float16 if half else np.float32
    third = 20 / 3
    weights = np.array([[-third] * 3, [20, -10, -10], [third] * 3], kind)[:, :, None, None]
    initializers = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([10, -10, -10], kind), "bias"),
        numpy_helper.from_array(np.array([1, 12], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[SIDE // 2] * 2, strides=[SIDE // 2] * 2),
        helper.make_node("Conv", ["means", "weights", "bias"], ["answers"]),
        helper.make_node("Transpose", ["answers"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "shape"], ["logits"]),
        helper.make_node("Sigmoid" if probabilities else "Identity", ["logits"], ["outputs"]),
    ]
    return save_graph(write_cells(folder), nodes, initializers, [1, 3, SIDE, SIDE], [1, 12], half=half)


def build_constant(folder: Path, values: Any, cells: Any = QUARTERS) -> Path:
    """The same outputs for every picture, of whatever shape."""
    outputs = np.asarray(values, np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["values", "nothing"], ["outputs"]),
    ]
    initializers = [numpy_helper.from_array(outputs, "values"), numpy_helper.from_array(np.float32(0), "zero")]
    return save_graph(write_cells(folder, cells), nodes, initializers, [1, 3, SIDE, SIDE], list(outputs.shape))


def save_graph(
    folder: Path, nodes: list[Any], initializers: list[Any], given: list[Any], taken: list[Any], *, half: bool = False
) -> Path:
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("images", kind, given)]
    outputs = [helper.make_tensor_value_info("outputs", kind, taken)]
    graph = helper.make_graph(nodes, "hazards", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return folder


def mobilenet(outputs: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict whose batch normalizations are no identities."""
    torch.manual_seed(seed)
    network = MobileNetV2(outputs)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.state_dict()


def build_mobilenet(folder: Path, outputs: int = 12, cells: Any = QUARTERS) -> Path:
    save_file(mobilenet(outputs), write_cells(folder, cells) / "model.safetensors")
    return folder
