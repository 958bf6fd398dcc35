"""Linear layers whose weights are kept in 8 bits by torchao, or in 4 by bitsandbytes, and unpacked while they compute.

[torch; no Django]

A model is built whole in main memory, where its weights are mapped from their files, from a folder, a single file and a base alike. Then
each layer is packed on the device by itself and brought back, so that at no time the device holds a whole part that is not packed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.hooks._common import _GO_LC_SUPPORTED_PYTORCH_LAYERS as SUPPORTED
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedModel

DENOISERS = ("unet", "transformer")
"""The names of a pipeline's component that runs at every step."""

ENDS = re.compile(r"^(x_embedder|img_in|proj_out|all_x_embedder|all_final_layer)(\.|$)")
"""Of a diffusion transformer: its first and last layer, which are small and see pictures, not features of them."""
NORM = "norm"
"""Diffusers lists layers that are not to be kept in fp8. Those of this name are a quarter of FLUX, and nf4 files of it have them packed."""
SMALL_ENCODERS = (CLIPTextModel, CLIPTextModelWithProjection)
BLOCK = 64
"""Weights that share a scale in nf4."""
ROWS = 32
"""That bitsandbytes multiplies with at once on a processor: it takes multiples, which all layers of real models have."""
SCALES = 256
"""Blocks whose scales, which are packed into 8 bits themselves, share another one."""
TABLES = (16 + 256 + 1) * 4
"""Bytes of the two tables and the mean that each layer has of its own."""


def layers_to_pack(name: str, part: torch.nn.Module, storage: str) -> dict[str, torch.nn.Linear]:
    """Of a pipeline's component of this name: the linear layers of the denoiser, and of text encoders other than CLIP's.

    Not those whose class says that they are to stay exact, and none that is packed already, or whose rows are no whole blocks.
    """
    if name not in DENOISERS and not (name.startswith("text_encoder") and _is_large_encoder(part)):
        return {}
    kept, head = _kept_names(part), _head_of(part)
    return {
        path: layer
        for path, layer in part.named_modules()
        if type(layer) is torch.nn.Linear
        and layer is not head
        and not is_packed(layer.weight)
        and (storage != "nf4" or not (layer.in_features % BLOCK or layer.out_features % ROWS))
        and not ENDS.search(path)
        and not any(re.search(pattern, path) for pattern in kept)
    }


def _is_large_encoder(part: torch.nn.Module) -> bool:
    return isinstance(part, PreTrainedModel) and not isinstance(part, SMALL_ENCODERS)


def _kept_names(part: Any) -> list[str]:
    listed = [
        *(getattr(part, "_keep_in_fp32_modules", None) or ()),
        *(getattr(part, "_skip_layerwise_casting_patterns", None) or ()),
    ]
    return [rf"(^|\.){name}(\.|$)" for name in listed if name != NORM]


def _head_of(part: Any) -> object:
    """A language model's last layer, whose weight may be that of its first."""
    return part.get_output_embeddings() if isinstance(part, PreTrainedModel) else None


def layers_in_fp8(name: str, part: Any) -> Iterator[Any]:
    """Those that diffusers keeps so where it is asked for: of a denoiser, linear layers and convolutions."""
    if name not in DENOISERS or not hasattr(part, "enable_layerwise_casting"):
        return
    kept = [*DEFAULT_SKIP_MODULES_PATTERN, *(part._skip_layerwise_casting_patterns or ()), *(part._keep_in_fp32_modules or ())]
    for path, layer in part.named_modules():
        if isinstance(layer, SUPPORTED) and not is_packed(layer.weight) and not any(re.search(skip, path) for skip in kept):
            yield layer


def packed_bytes(layer: torch.nn.Linear, storage: str) -> int:
    """What its weight will take."""
    rows, columns = layer.weight.shape
    if storage == "int8":
        return rows * (columns + 5)  # a scale and a zero for each row
    blocks = rows * columns // BLOCK
    return rows * columns // 2 + blocks + 4 * math.ceil(blocks / SCALES) + TABLES


def pack_layers(part: torch.nn.Module, layers: dict[str, torch.nn.Linear], storage: str, device: torch.device) -> None:
    """For as long as the part is loaded. Each layer is back in main memory afterwards."""
    pack = _pack_int8 if storage == "int8" else _pack_nf4
    for path in list(layers):
        parent, _, attribute = path.rpartition(".")
        setattr(part.get_submodule(parent), attribute, pack(layers.pop(path), device))


def _pack_int8(layer: torch.nn.Linear, device: torch.device) -> torch.nn.Module:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_  # optional

    on_device = layer.to(device)
    quantize_(on_device, Int8WeightOnlyConfig())
    return on_device.to("cpu")


def _pack_nf4(layer: torch.nn.Linear, device: torch.device) -> torch.nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit  # optional

    weight = layer.weight
    packed: Any = Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=weight.dtype, quant_type="nf4", device="meta"
    )
    packed.bias = layer.bias
    in_blocks: Any = Params4bit(weight.data, quant_type="nf4")
    packed.weight = in_blocks.to(device).to("cpu")
    packed.quant_state = packed.weight.quant_state
    return packed.train(layer.training)  # type: ignore[no-any-return]


# -- What holds the numbers --------------------------------------------------------------------------------------------------


def is_packed(weight: torch.Tensor) -> bool:
    """Whether it has fewer bits than the dtype in which it is computed with: it can't be added to, or cast."""
    return not weight.is_floating_point() or is_traceable_wrapper_subclass(weight)


def is_in_blocks(loaded_part: torch.nn.Module) -> bool:
    """Whether it has weights of bitsandbytes, whose scales lie beside the parameter: they move with a whole module alone."""
    return any(getattr(weight, "quant_state", None) is not None for weight in loaded_part.parameters())


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors that hold a parameter's numbers: itself, or those of its packed form, with the scales."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from plain_tensors(getattr(tensor, name))
        return
    yield tensor
    state = getattr(tensor, "quant_state", None)
    while state is not None:
        yield from (value for value in (state.absmax, state.code, state.offset) if isinstance(value, torch.Tensor))
        state = getattr(state, "state2", None)
