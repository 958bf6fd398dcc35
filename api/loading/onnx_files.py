"""Checks an ONNX file before onnxruntime opens it: what it computes with, and which other files it reads.  No torch, no Django."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from api.errors import DarkroomError
from api.model_files.header import is_lfs_pointer

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""ONNX's own operators, and those that every onnxruntime has besides."""


def check_onnx_file(file: Path, name: str) -> None:
    """Refuses operators that onnxruntime lacks, and data outside the file's folder. Raises DarkroomError, which says `name`."""
    if is_lfs_pointer(file):
        detail = f"{file.name} of {name} is a Git LFS pointer, not the model itself: `git lfs pull` fetches it."
        raise DarkroomError("damaged", 422, detail)
    try:
        model = onnx.load(file, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {file.name} of {name} is damaged: it is no ONNX model.") from error
    _check_operators(model, file, name)
    for tensor in _tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(tensor, file, name)


def _check_operators(model: Any, file: Path, name: str) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    graphs = [model.graph.node, *(function.node for function in model.functions)]
    for node in (node for nodes in graphs for node in _nodes_of(nodes)):
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
            detail = f"{file.name} has the custom operator {node.domain}.{node.op_type}, and only ONNX's own are run"
            raise DarkroomError("unsafe_files", 422, f"{name} can't be loaded: {detail}.")


def _check_external(tensor: Any, file: Path, name: str) -> None:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    folder = file.parent.resolve()
    if not location or not (folder / location).resolve().is_relative_to(folder):
        detail = f"{file.name} reads data outside its folder ({location[:80]!r})"
        raise DarkroomError("unsafe_files", 422, f"{name} can't be loaded: {detail}.")
    if not (folder / location).is_file():
        raise DarkroomError(
            "damaged", 422, f"{name} can't be loaded: {file.name} needs the file {location}, which is not there."
        )


def _nodes_of(nodes: Iterable[Any]) -> Iterator[Any]:
    """Those in branches and loops, too."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def _tensors_of(model: Any) -> Iterator[Any]:
    """All that are stored: weights, constants, and those of branches and functions."""
    yield from model.graph.initializer
    functions = (node for function in model.functions for node in function.node)
    for node in _nodes_of([*model.graph.node, *functions]):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
