"""From the names of an original release to those of diffusers' and transformers' models.  [torch; no Django]

Diffusers' own conversions are used. They slice and join tensors, so that they work on tensors without data too: `TracedShape` has a
shape, and remembers which tensors of the file it was made from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.loaders.single_file_utils import (
    LDM_UNET_KEY,
    convert_controlnet_checkpoint,
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    convert_sd3_transformer_checkpoint_to_diffusers,
)

from api.loading.single_files.components import Layout

Tensors = dict[str, torch.Tensor]
VAE_KEY = "first_stage_model."
OPEN_CLIP_KEY = "conditioner.embedders.1.model."
SIZES = {"label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2"}
CLIP_TOWER = "text_model."


class TracedShape(torch.Tensor):
    """A tensor on the meta device. `names` are those of the file's tensors that it came from."""

    names: frozenset[str] = frozenset()

    @classmethod
    def make(cls, name: str, shape: tuple[int, ...]) -> TracedShape:
        tensor = torch.empty(shape, device="meta").as_subclass(cls)
        tensor.names = frozenset({name})
        return tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        names = frozenset(name for tensor in _traced(args) for name in tensor.names)
        for tensor in _traced(result):
            tensor.names = names
        return result


def _traced(value: Any) -> Iterable[TracedShape]:
    if isinstance(value, TracedShape):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _traced(item)


def rename(tensors: Mapping[str, torch.Tensor], layout: Layout, model: Any, config: Mapping[str, Any]) -> Tensors:
    """`tensors` without their prefix, by the names of `model`, which may be on the meta device. Raises KeyError for a missing one."""
    if layout == "transformers":
        return _fit_clip_prefix(tensors, model)
    if layout == "open_clip":
        prefixed = {f"{OPEN_CLIP_KEY}{name}": tensor for name, tensor in tensors.items()}
        return _fit_clip_prefix(convert_open_clip_checkpoint(model, prefixed, prefix=OPEN_CLIP_KEY), model)
    if _has_own_names(tensors, model):
        own = OrderedDict(tensors)
        model._fix_state_dict_keys_on_load(own)  # an attention's names before diffusers 0.12
        return dict(own)
    return CONVERSIONS[type(model).__name__](tensors, config)


def _unet(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Tensors:
    return dict(
        convert_ldm_unet_checkpoint({f"{LDM_UNET_KEY}{name}": tensor for name, tensor in tensors.items()}, config=config)
    )


def _vae(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Tensors:
    return dict(convert_ldm_vae_checkpoint({f"{VAE_KEY}{name}": tensor for name, tensor in tensors.items()}, config=config))


def _controlnet(tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Tensors:
    """Diffusers' conversion leaves SDXL's embedding of sizes out, and gives None for what the file lacks."""
    converted = convert_controlnet_checkpoint(dict(tensors), config)
    sizes = {
        f"{ours}.{end}": tensors[f"{theirs}.{end}"]
        for theirs, ours in SIZES.items()
        for end in ("weight", "bias")
        if f"{theirs}.{end}" in tensors
    }
    return {name: tensor for name, tensor in {**converted, **sizes}.items() if tensor is not None}


CONVERSIONS: dict[str, Callable[[Mapping[str, torch.Tensor], Mapping[str, Any]], Tensors]] = {
    "UNet2DConditionModel": _unet,
    "AutoencoderKL": _vae,
    "ControlNetModel": _controlnet,
    "SD3Transformer2DModel": lambda tensors, config: dict(convert_sd3_transformer_checkpoint_to_diffusers(dict(tensors))),
    "FluxTransformer2DModel": lambda tensors, config: dict(convert_flux_transformer_checkpoint_to_diffusers(dict(tensors))),
}


def _has_own_names(tensors: Mapping[str, torch.Tensor], model: Any) -> bool:
    """The file was written by diffusers: most of its names are the model's already."""
    wanted = model.state_dict().keys()
    return isinstance(model, ModelMixin) and len(wanted & tensors.keys()) * 2 > len(wanted)


def _fit_clip_prefix(tensors: Mapping[str, torch.Tensor], model: Any) -> Tensors:
    """CLIP's text tower has its own prefix in some versions of transformers and in some of its classes."""
    wanted = model.state_dict().keys()
    renamed = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(CLIP_TOWER)
        renamed[next((known for known in (name, plain, f"{CLIP_TOWER}{plain}") if known in wanted), name)] = tensor
    return renamed
