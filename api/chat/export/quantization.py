"""Weights in 8 or 4 bits.  [torch]

Text: matrix products go to MatMulNBits, weights in blocks along each column, a scale for each block, and activations in 8 bits row by
row, so that what else is in a batch changes nothing. An embedding keeps one scale for each token.

Pictures: a thousand places at once are faster as whole products of 8-bit numbers (DynamicQuantizeLinear, MatMulInteger; a scale for each
column). The weights are unsigned: with signed ones a processor without VNNI overflows its 16-bit sums. Never less than 8 bits.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from api.chat.export.tracing import save

FLOAT = onnx.TensorProto.FLOAT
BITS = {"int8": 8, "int4": 4}
BLOCK_SIZES = {"int8": 64, "int4": 32}
"""Weights that share a scale. In 8 bits, 32 would take an eighth more memory: onnxruntime holds a sum beside each scale."""
ACCURACY_INT8 = 4
"""MatMulNBits' accuracy_level: products of 8-bit numbers."""


def quantize(graph: onnx.ModelProto, part: str, precision: str) -> onnx.ModelProto:
    """A graph of its own; the one given stays as it is."""
    if precision not in BITS:
        return graph
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # both tell of every node
    try:
        return quantize_vision(graph) if part == "vision_encoder" else quantize_text(graph, precision)
    finally:
        logging.disable(before)


def quantize_vision(graph: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        save(graph, source)
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8, per_channel=True, op_types_to_quantize=["MatMul"])
        return onnx.load(target)


def quantize_text(graph: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    quantize_embeddings(copy.graph)
    quantizer = MatMulNBitsQuantizer(
        copy, bits=BITS[precision], block_size=BLOCK_SIZES[precision], is_symmetric=True, accuracy_level=ACCURACY_INT8
    )
    quantizer.process()
    return quantizer.model.model


def quantize_embeddings(graph: onnx.GraphProto) -> None:
    """Gather of a table of floats: of one with 8-bit numbers, times the gathered scale of each row."""
    tables = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == FLOAT and len(tensor.dims) == 2}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        nodes += [node] if table is None else split_gather(graph, node, table)
    del graph.node[:]
    graph.node.extend(nodes)


def split_gather(graph: onnx.GraphProto, node: onnx.NodeProto, table: onnx.TensorProto) -> list[onnx.NodeProto]:
    values = numpy_helper.to_array(table)
    scales = np.maximum(np.abs(values).max(1, keepdims=True), 1e-8) / 127
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.rint(values / scales).astype(np.int8), f"{table.name}_int8"),
            numpy_helper.from_array(scales.astype(np.float32), f"{table.name}_scales"),
        ]
    )
    graph.initializer.remove(table)
    names = [f"{node.output[0]}_{kind}" for kind in ("int8", "float", "scale")]
    return [
        helper.make_node("Gather", [f"{table.name}_int8", node.input[1]], [names[0]], axis=0),
        helper.make_node("Cast", [names[0]], [names[1]], to=FLOAT),
        helper.make_node("Gather", [f"{table.name}_scales", node.input[1]], [names[2]], axis=0),
        helper.make_node("Mul", names[1:], [node.output[0]]),
    ]
