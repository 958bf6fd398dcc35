"""Exports a transformers checkpoint to ONNX in the hub's layout: trace, quantize, compare with the original.  [torch; no Django]

    export_onnx(Path("smolvlm"), Path("smolvlm"), "fp32", "int8")     # writes smolvlm/onnx/*.onnx and *_int8.onnx

Needs onnx and onnxscript, which running such a model does not.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from api.catalog import ONNX_WORDS, ModelEntry, part_file
from api.chat.export.comparison import Comparison, compare
from api.chat.export.parts import UnknownArchitecture, split_model
from api.chat.export.quantization import quantize
from api.chat.export.tracing import save, trace
from api.devices import Device
from api.loading.chat import ChatModel, build_chat
from api.loading.onnx import build_onnx

__all__ = ["VARIANTS", "Comparison", "ExportError", "export_onnx"]

CPU = Device("cpu", 0, "", torch.float32, True, 0)
VARIANTS = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int4": "q4"}
"""The hub's name for a precision's files."""
FP32_TOLERANCE = 1e-3
"""In fp32: the largest difference between two logits that is rounding."""

Progress = Callable[[float, str], None]


class ExportError(Exception):
    """Why a model can't be exported, in a sentence."""


def export_onnx(
    model_folder: Path,
    output: Path,
    *precisions: str,
    task: str = "image-text-to-text",
    on_progress: Progress = lambda fraction, text: None,
    check: bool = True,
) -> dict[str, Comparison]:
    """Write `output`/onnx/*.onnx, with the tokenizer and the configurations beside it where `output` is another folder.

    `precisions`: fp32, fp16, int8, int4 (weights in blocks of 8 or 4 bits); `task`: image-text-to-text or text-generation. What is
    written is held against the original, over the same prompts and pictures, and the comparison told for each precision (nothing
    without `check`). Where anything fails, nothing is left behind.

    Raises ExportError: an unknown precision or architecture, a checkpoint that can't be traced, fp32 that answers differently.
    """
    if unknown := set(precisions) - VARIANTS.keys():
        raise ExportError(f"There is no precision {min(unknown)} in ONNX; there are {', '.join(VARIANTS)}.")
    entry = ModelEntry(id="exported", name=model_folder.name, task=task, path=model_folder)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, suffix=".part") as name:
        folder = Path(name)
        copy_configs(model_folder, folder)
        found = {}
        for half in (False, True):
            mine = [precision for precision in precisions if (precision == "fp16") == half]
            if mine:
                write_parts(entry, folder / "onnx", mine, half, on_progress)
        for precision in precisions if check else ():
            on_progress(0.9, f"Comparing {precision}")
            found[precision] = compare_with_original(entry, folder, precision)
        move_files(folder, output, keep_configs=output.resolve() == model_folder.resolve())
    on_progress(1.0, "Done")
    return found


def write_parts(entry: ModelEntry, target: Path, precisions: list[str], half: bool, on_progress: Progress) -> None:
    """Each part is traced once; half precision is another graph."""
    target.mkdir(exist_ok=True)
    chat = original(entry)
    try:
        parts = split_model(chat.model, half=half)
    except UnknownArchitecture as error:
        raise ExportError(str(error)) from None
    for number, part in enumerate(parts):
        on_progress(0.9 * number / len(parts), f"Writing {part.name}")
        try:
            graph = trace(part)
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"Its part {part.name} can't be traced: {str(error)[:300]}") from error
        for precision in precisions:
            save(quantize(graph, part.name, precision), target / part_file(part.name, VARIANTS[precision]))


def original(entry: ModelEntry) -> ChatModel:
    assert entry.path is not None
    return build_chat(entry, entry.path, CPU)


def compare_with_original(entry: ModelEntry, folder: Path, precision: str) -> Comparison:
    exported = dataclasses.replace(entry, onnx_variant=VARIANTS[precision])
    found = compare(original(entry), build_onnx(exported, folder, CPU))
    if precision == "fp32" and (found.largest_difference > FP32_TOLERANCE or found.same_tokens < found.tokens):
        raise ExportError(f"What was written answers differently: {found}")
    return found


def copy_configs(source: Path, target: Path) -> None:
    """The configurations, the tokenizer and the templates; no weights, and no index of them."""
    for pattern in ONNX_WORDS:
        for file in source.glob(pattern):
            if not file.name.endswith(".index.json"):
                shutil.copyfile(file, target / file.name)


def move_files(folder: Path, output: Path, *, keep_configs: bool) -> None:
    (output / "onnx").mkdir(exist_ok=True)
    for file in sorted(folder.rglob("*")):
        place = output / file.relative_to(folder)
        if file.is_file() and (not keep_configs or place.parent.name == "onnx"):
            file.replace(place)
