"""FLUX's checkpoints as Black Forest Labs name their tensors, made from diffusers' folders."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import single_file_utils

from tests.loading.originals import UNET, VAE, Tensors, prefixed, read, replaced, swapped, vae

FLUX_ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
}
FLUX_BLOCK = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
FLUX_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "proj_out": "linear2",
}
FLUX_JOINED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
FLUX_SINGLE_JOINED = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}


def flux(folder: Path) -> Tensors:
    tensors = prefixed(UNET, flux_transformer(read(folder, "transformer"))) | prefixed(VAE, vae(read(folder, "vae")))
    for part, name in {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"}.items():
        tensors |= prefixed(f"text_encoders.{name}.transformer.", read(folder, part))
    return tensors


def flux_transformer(tensors: Tensors) -> Tensors:
    found = {replaced(name, FLUX_ENDS): tensor for name, tensor in tensors.items() if "blocks." not in name}
    for end in ("weight", "bias"):
        found[f"final_layer.adaLN_modulation.1.{end}"] = swapped(found.pop(f"norm_out.linear.{end}"))
    for block in sorted({".".join(name.split(".")[:2]) + "." for name in tensors if "blocks." in name}):
        own = {name.removeprefix(block): tensor for name, tensor in tensors.items() if name.startswith(block)}
        theirs = block.replace("single_transformer_blocks", "single_blocks").replace("transformer_blocks", "double_blocks")
        is_single = theirs.startswith("single")
        for name, parts in (FLUX_SINGLE_JOINED if is_single else FLUX_JOINED).items():
            for end in ("weight", "bias"):
                found[f"{theirs}{name}.{end}"] = torch.cat([own.pop(f"{part}.{end}") for part in parts])
        table = FLUX_SINGLE if is_single else FLUX_BLOCK
        found |= {theirs + table.get(name, replaced(name, table)): tensor for name, tensor in own.items()}
    return found


def conversion_at(width: int) -> Callable[..., Any]:
    """Diffusers' conversion, which has FLUX's own width in its text, for a transformer in small."""
    name = "convert_flux_transformer_checkpoint_to_diffusers"
    text = inspect.getsource(getattr(single_file_utils, name))
    assert text.count("3072") == 1
    namespace = dict(vars(single_file_utils))
    exec(text.replace("3072", str(width)), namespace)
    return namespace[name]  # type: ignore[no-any-return]
