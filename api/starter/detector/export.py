"""The detector as an ONNX file in the layout of YOLOv8's exports, for the same backend as an owner's YOLO."""

import copy
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.utils.fusion import fuse_conv_bn_eval

from api.starter.detector.network import SIZE, STRIDES, Conv, Detector, Exported
from api.starter.world.labels import NAMES
from api.vision.label_words import vietnamese

Network = TypeVar("Network", bound=torch.nn.Module)

LEAST_VALUES = 16
"""Smaller constants stay in fp32: they are shapes and scales."""
METADATA = {
    "description": "Darkroom's starter-detector",
    "license": "MIT",
    "task": "detect",
    "stride": str(max(STRIDES)),
    "imgsz": str([SIZE, SIZE]),
    "names": str(dict(enumerate(NAMES))),
    "names_vi": str(dict(enumerate(map(vietnamese, NAMES)))),
}


def export_onnx(detector: Detector, path: Path) -> None:
    """Any number of pictures (N, 3, 256, 256) of 0..1 to (N, 4 + classes, cells)."""
    save_onnx(Exported(fused(detector)), path, output="output0", metadata=METADATA)


def save_onnx(network: torch.nn.Module, path: Path, *, output: str, metadata: dict[str, str]) -> None:
    """Of a network that takes any number of pictures (N, 3, 256, 256) of 0..1. Weights in fp16, computed with in fp32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, SIZE, SIZE),),
        input_names=["images"],
        output_names=[output],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    halve_weights(model)
    helper.set_model_props(model, metadata)
    model.doc_string = ""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def fused(network: Network) -> Network:
    """A copy whose convolutions have their batch normalisation in them."""
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, Conv):
            convolution, normalisation = module[0], module[1]
            assert isinstance(convolution, torch.nn.Conv2d)
            assert isinstance(normalisation, torch.nn.BatchNorm2d)
            module[0], module[1] = fuse_conv_bn_eval(convolution, normalisation), torch.nn.Identity()
    return copied


def halve_weights(model: onnx.ModelProto) -> None:
    """Weights are stored in fp16 and cast when the file is opened: onnxruntime's CPU kernels are quick in fp32."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_VALUES:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
