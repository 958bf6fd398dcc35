"""From a module to an ONNX graph, and from that to a file.  [torch]"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import Dim

from api.chat.export.parts import ExportPart

OPSET = 20
LARGEST = 1_500_000_000
"""Bytes of one file; a graph of more than 2 GB needs its weights beside it."""


def trace(part: ExportPart) -> onnx.ModelProto:
    """The graph with its weights inside. Its inputs and outputs are named as the part says, and so are the sizes that may differ."""
    named = {name: Dim(name) for axes in part.axes for name in axes.values()}
    shapes: list[Any] = [{axis: named[name] for axis, name in axes.items()} for axes in part.axes]
    plain = 3 if len(shapes) > 3 else len(shapes)  # what comes after is the decoder's *past
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            part.module.eval(),
            tuple(part.inputs.values()),
            dynamo=True,
            dynamic_shapes=(*shapes[:plain], *([tuple(shapes[plain:])] if shapes[plain:] else [])),
            input_names=list(part.inputs),
            output_names=part.outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    for node in graph.graph.node:  # where in the source each came from: more bytes than a small model's weights
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:], graph.metadata_props[:]
    return graph  # type: ignore[no-any-return]


def save(graph: onnx.ModelProto, file: Path) -> None:
    size = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    if size < LARGEST:
        onnx.save(graph, file)
    else:
        onnx.save(graph, file, save_as_external_data=True, location=f"{file.name}_data", convert_attribute=False)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter tells of every operator of torchvision's that isn't there, and of its own deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
