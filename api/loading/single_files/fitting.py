"""Compares a file's header with the models that are to be built, before weights are read.  [torch; no Django]

Diffusers leaves a tensor that a file lacks on the meta device and says nothing; what the file has beside is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from api.catalog import ModelEntry
from api.loading.checkpoints import broken_error, tied_names
from api.loading.single_files.components import Place
from api.loading.single_files.renaming import TracedShape, rename
from api.model_files.gguf import COMPUTED
from api.model_files.header import TensorInfo
from api.model_files.identify import PRECISIONS

SCALES = (".scale_weight", ".weight_scale")
"""After a layer's name: what its weights in fp8 are to be multiplied by."""
COUNTS = ("I64", "I32", "BOOL")
"""Dtypes of what is no weight."""
COMPUTABLE = {*PRECISIONS, *COUNTS, *COMPUTED}
UNUSED = re.compile(
    r"(^|\.)(position_ids|logit_scale|attn_mask|scale_input|input_scale|scale_weight|weight_scale|scaled_fp8|num_batches_tracked)$"
    r"|^loss\.|^model_ema\."
)
"""Left in files by training and by other programs; nothing that a model computes with."""
UNUSED_TEXT = re.compile(
    r"(^|\.)(text_projection(\.weight)?|lm_head\.weight)$|(^|\.)(resblocks|layers)\.\d+\.|^encoder\.embed_tokens\."
)
"""Of a text encoder: later layers than are read, since the text is taken from an earlier one."""


def check_part(
    entry: ModelEntry,
    file: str,
    part: str,
    place: Place,
    tensors: Mapping[str, TensorInfo],
    model: Any,
    config: Mapping[str, Any],
) -> None:
    """`model` is on the meta device, `tensors` are its part's. Raises DarkroomError, which names the part and the tensor."""

    def broken(reason: str) -> Exception:
        return broken_error(entry, f"{part} in {file} does not fit a model of its kind: {reason}")

    traced = {name: TracedShape.make(name, info.shape) for name, info in tensors.items() if not UNUSED.search(name)}
    try:
        renamed = rename(traced, place.layout, model, config)
    except KeyError as error:
        raise broken(f"it lacks the tensor {place.prefix}{error.args[0]}") from error
    except (RuntimeError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise broken("its tensors are not shaped as that one's are") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, tensor in renamed.items():
        if name in wanted and tuple(tensor.shape) != wanted[name]:
            raise broken(
                f"the tensor {_origin(place, tensor)} has the shape {list(tensor.shape)}, and {list(wanted[name])} is wanted"
            )
    required = {name for name, _ in model.named_parameters(remove_duplicate=False)} - tied_names(model, renamed)
    if missing := sorted(required - renamed.keys()):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise broken(f"it lacks the tensor {missing[0]}{others} (by diffusers' name)")
    used = {origin for name, tensor in renamed.items() if name in wanted for origin in _names(tensor)}
    extra = sorted(name for name in traced.keys() - used if not (part.startswith("text_encoder") and UNUSED_TEXT.search(name)))
    if odd := sorted(name for name in used if tensors[name].dtype not in COMPUTABLE):
        raise broken(f"the tensor {place.prefix}{odd[0]} is of the dtype {tensors[odd[0]].dtype}, which is not computed with")
    if extra:
        raise broken(f"{len(extra)} of its tensors have no place there, such as {place.prefix}{extra[0]}")


def _names(tensor: torch.Tensor) -> frozenset[str]:
    return tensor.names if isinstance(tensor, TracedShape) else frozenset()


def _origin(place: Place, tensor: torch.Tensor) -> str:
    return place.prefix + min(_names(tensor), default="?")
