"""Reads the weights of one part from a single file.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from api.catalog import ModelEntry
from api.errors import DarkroomError
from api.loading.checkpoints import broken_error
from api.loading.single_files.fitting import SCALES, UNUSED
from api.loading.single_files.plan import FilePart
from api.loading.single_files.renaming import rename

WEIGHT = ".weight"


def load_part(entry: ModelEntry, part: FilePart, model: Any, dtype: torch.dtype) -> Any:
    """Fill `model`, which has no weights yet and whose header was checked. Raises DarkroomError."""
    if part.header.is_gguf:
        from api.loading.single_files.gguf_weights import put_packed_layers, read_gguf_tensors  # gguf, for such files alone

    try:
        tensors = dict(read_gguf_tensors(part, dtype) if part.header.is_gguf else _read(entry, part, dtype))
    except (SafetensorError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {part.file.name} of {entry.name} changed while it was read.") from error
    renamed = rename(tensors, part.place.layout, model, part.config)
    del tensors
    if part.header.is_gguf:
        renamed = put_packed_layers(model, renamed, dtype)
    model.load_state_dict(renamed, strict=False, assign=True)
    if isinstance(model, PreTrainedModel):
        model.tie_weights()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise broken_error(entry, f"{part.name} in {part.file.name} lacks the tensor {name}")
    return torch.nn.Module.to(model, dtype).eval()  # diffusers' own warns of layers to be kept in fp32, and names none


def _read(entry: ModelEntry, part: FilePart, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Copies, in `dtype`: the file may be replaced while the model is used, and is not kept open."""
    with safe_open(part.file, framework="pt") as opened:
        for name in part.tensors:
            if not UNUSED.search(name):
                stored = opened.get_tensor(part.place.prefix + name)
                value = (
                    _scaled(opened, part, name, stored).to(dtype, copy=True) if stored.is_floating_point() else stored.clone()
                )
                _check_finite(entry, part, name, stored, value)
                yield name, value


def _scaled(opened: Any, part: FilePart, name: str, stored: torch.Tensor) -> torch.Tensor:
    """Weights in scaled fp8 are a factor smaller or larger than the model's."""
    layer = name.removesuffix(WEIGHT)
    scale = next((layer + end for end in SCALES if layer != name and layer + end in part.tensors), None)
    return stored if scale is None else stored.float() * opened.get_tensor(part.place.prefix + scale).float()


def _check_finite(entry: ModelEntry, part: FilePart, name: str, stored: torch.Tensor, value: torch.Tensor) -> None:
    """One pass over the values, with a second only where the sum is not finite, which large values can cause too."""
    if not value.is_floating_point() or torch.isfinite(value.sum(dtype=torch.float32)) or torch.isfinite(value).all():
        return
    key = part.place.prefix + name
    if torch.isfinite(stored.float()).all():
        reason = f"the tensor {key} in {part.file.name} has values too large for {str(value.dtype).removeprefix('torch.')}"
    else:
        reason = f"the tensor {key} in {part.file.name} has values that are not numbers"
    raise broken_error(entry, reason)
