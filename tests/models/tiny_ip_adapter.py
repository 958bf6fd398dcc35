"""Small IP-Adapters in the forms that are published, and what reads their pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection, IPAdapterFullImageProjection, IPAdapterPlusImageProjection
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Tensors = dict[str, torch.Tensor]
STATES, EMBEDS = 48, 24
FORMS = ("base", "plus", "full")


def build_tiny_image_encoder(folder: Path, *, seed: int = 0, states: int = STATES, embeds: int = EMBEDS) -> Path:
    """As transformers writes it."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=states, intermediate_size=64, projection_dim=embeds, num_hidden_layers=3, num_attention_heads=16,
        image_size=32, patch_size=8, hidden_act="gelu",
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def image_projection(form: str, text_width: int) -> Tensors:
    """In the names of the first release."""
    if form == "base":
        made = ImageProjection(EMBEDS, text_width, num_image_text_embeds=4).state_dict()
        return {name.replace("image_embeds.", "proj."): tensor for name, tensor in made.items()}
    if form == "full":
        made = IPAdapterFullImageProjection(STATES, text_width).state_dict()
        ends = {"ff.net.0.proj": "proj.0", "ff.net.2": "proj.2", "norm": "proj.3"}
        return {_replaced(name, ends): tensor for name, tensor in made.items()}
    return plus_projection(text_width)


def plus_projection(text_width: int, queries: int = 6) -> Tensors:
    made = IPAdapterPlusImageProjection(
        embed_dims=STATES, output_dims=text_width, hidden_dims=64, depth=4, heads=1, num_queries=queries
    ).state_dict()
    found: Tensors = {}
    for name, tensor in made.items():
        parts = name.split(".")
        if parts[0] != "layers":
            found[name] = tensor
        elif parts[2] in ("ln0", "ln1"):
            found[f"layers.{parts[1]}.0.norm{int(parts[2][-1]) + 1}.{parts[3]}"] = tensor
        elif parts[2] == "ff":
            place = {"0": "0", "1.net.0.proj": "1", "1.net.2": "3"}[".".join(parts[3:-1])]
            found[f"layers.{parts[1]}.1.{place}.{parts[-1]}"] = tensor
        elif parts[3] == "to_v":
            key = made[name.replace("to_v", "to_k")]
            found[f"layers.{parts[1]}.0.to_kv.weight"] = torch.cat([key, tensor])
        elif parts[3] == "to_q":
            found[f"layers.{parts[1]}.0.to_q.weight"] = tensor
        elif parts[3] == "to_out":
            found[f"layers.{parts[1]}.0.to_out.weight"] = tensor
    return found


def build_tiny_ip_adapter(file: Path, model: Path, form: str = "base", *, seed: int = 0) -> Path:
    """For the checkpoint in `model`, as published: image_proj.… and ip_adapter.…"""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    width = unet.config.cross_attention_dim
    tensors = {f"image_proj.{name}": tensor for name, tensor in image_projection(form, width).items()}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(names):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(layer.inner_dim, width)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, file)
    return file


def _replaced(name: str, ends: dict[str, str]) -> str:
    old = next(old for old in ends if name.startswith(old))
    return ends[old] + name.removeprefix(old)
