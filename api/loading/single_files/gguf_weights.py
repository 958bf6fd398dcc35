"""Weights of GGUF files, which stay packed in memory: diffusers' layers unpack them while they compute.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.quantizers.gguf.utils import GGUFParameter, _replace_with_gguf_linear, dequantize_gguf_tensor
from gguf import GGMLQuantizationType

from api.loading.single_files.fitting import UNUSED
from api.loading.single_files.plan import FilePart

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}

Tensors = dict[str, torch.Tensor]


def read_gguf_tensors(part: FilePart, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Copies; what is not packed, in `dtype`. Packed tensors have rows of bytes, so that they are joined and cut by rows as others are.

    Raises OSError.
    """
    with part.file.open("rb") as stream:
        for name, info in part.tensors.items():
            if UNUSED.search(name):
                continue
            stream.seek(part.header.begin + info.start)
            content = bytearray(stream.read(info.nbytes))
            if len(content) < info.nbytes:
                raise OSError("cut off")
            stored = torch.frombuffer(content, dtype=torch.uint8)
            if info.dtype in DTYPES:
                yield name, stored.view(DTYPES[info.dtype]).reshape(info.shape).to(dtype, copy=True)
            else:
                rows = stored.reshape(*info.shape[:-1], -1)
                yield name, GGUFParameter(rows, quant_type=GGMLQuantizationType[info.dtype])


def put_packed_layers(model: Any, tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """Layers that keep their weights packed, in the place of linear ones. Returns the other tensors, in `dtype`."""
    packed = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, GGUFParameter)}
    kept = {name for name in packed if _computes_packed(model, name)}
    _replace_with_gguf_linear(model, dtype, {name: packed[name] for name in kept})
    for name in kept:
        layer, _, parameter = name.rpartition(".")
        model.get_submodule(layer)._parameters[parameter] = packed[name]
    others = {name: tensor for name, tensor in tensors.items() if name not in packed}
    return others | {name: dequantize_gguf_tensor(packed[name]).to(dtype) for name in packed.keys() - kept}


def _computes_packed(model: Any, name: str) -> bool:
    """Transformers' text encoders read their own layers' weights, whose numbers they expect."""
    layer, _, parameter = name.rpartition(".")
    return isinstance(model, ModelMixin) and parameter == "weight" and type(model.get_submodule(layer)) is torch.nn.Linear
