"""Checkpoints in one file as the original releases wrote them, made from diffusers' folders. Written from the releases' own names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
UNET, VAE = "model.diffusion_model.", "first_stage_model."

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def read(folder: Path, part: str) -> Tensors:
    [file] = (folder / part).glob("*.safetensors")
    return load_file(file)


def write(file: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata=metadata)
    return file


def cast(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Tensors:
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def sd1(folder: Path) -> Tensors:
    text = prefixed("cond_stage_model.transformer.", with_tower(read(folder, "text_encoder")))
    return ldm(folder) | text | {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}


def sd2(folder: Path) -> Tensors:
    """The release has one layer more than is used, and a projection that isn't."""
    text = open_clip(read(folder, "text_encoder"))
    last = max(int(name.split(".")[2]) for name in text if ".resblocks." in name)
    text |= {
        name.replace(f".{last}.", f".{last + 1}."): torch.ones_like(tensor)
        for name, tensor in text.items()
        if f"resblocks.{last}." in name
    }
    text |= {"text_projection": torch.ones(32, 32), "logit_scale": torch.tensor(4.6)}
    return ldm(folder) | prefixed("cond_stage_model.model.", text)


def sdxl(folder: Path) -> Tensors:
    first = prefixed("conditioner.embedders.0.transformer.", with_tower(read(folder, "text_encoder")))
    second = prefixed("conditioner.embedders.1.model.", open_clip(read(folder, "text_encoder_2")))
    return ldm(folder) | first | second


def sd3(folder: Path) -> Tensors:
    tensors = prefixed(UNET, sd3_transformer(read(folder, "transformer"))) | prefixed(VAE, vae(read(folder, "vae")))
    encoders = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}
    for part, name in encoders.items():
        tensors |= prefixed(f"text_encoders.{name}.transformer.", read(folder, part))
    return tensors


def ldm(folder: Path) -> Tensors:
    """The UNet and the VAE, and what training leaves in a file."""
    parts = prefixed(UNET, unet(read(folder, "unet"))) | prefixed(VAE, vae(read(folder, "vae")))
    return parts | {
        "betas": torch.zeros(1000),
        "alphas_cumprod": torch.zeros(1000),
        "first_stage_model.loss.logvar": torch.zeros(1),
    }


def with_tower(tensors: Tensors) -> Tensors:
    """CLIP's text tower has a prefix of its own in the releases."""
    return {name if name.startswith("text_") else f"text_model.{name}": tensor for name, tensor in tensors.items()}


def renamed(tensors: Tensors, rename: Callable[[str], str]) -> Tensors:
    return {rename(name): tensor for name, tensor in tensors.items()}


def replaced(name: str, table: Mapping[str, str]) -> str:
    """With the start of it replaced."""
    start = next((start for start in table if name.startswith(f"{start}.")), None)
    return name if start is None else table[start] + name.removeprefix(start)


def unet(tensors: Tensors) -> Tensors:
    count = 1 + max(int(match[1]) for name in tensors if (match := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name)))
    stride = count + 1

    def rename(name: str) -> str:
        if match := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(conv\.)?(.*)", name):
            block, kind, place = int(match[1]), match[2], int(match[3])
            if kind == "downsamplers":
                return f"input_blocks.{(block + 1) * stride}.0.op.{match[5]}"
            start = f"input_blocks.{1 + block * stride + place}"
            return _unet_layer(start, kind, (match[4] or "") + match[5])
        if match := re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(conv\.)?(.*)", name):
            block, kind, place = int(match[1]), match[2], int(match[3])
            if kind == "upsamplers":
                attends = any(other.startswith(f"up_blocks.{block}.attentions.") for other in tensors)
                return f"output_blocks.{block * stride + count}.{2 if attends else 1}.conv.{match[5]}"
            return _unet_layer(f"output_blocks.{block * stride + place}", kind, (match[4] or "") + match[5])
        plain = replaced(name, UNET_ENDS)
        if match := re.match(r"(middle_block\.[02]\.)(.*)", plain):
            return match[1] + replaced(match[2], RESNET)
        return plain

    return renamed(tensors, rename)


def _unet_layer(start: str, kind: str, rest: str) -> str:
    return f"{start}.0.{replaced(rest, RESNET)}" if kind == "resnets" else f"{start}.1.{rest}"


def vae(tensors: Tensors) -> Tensors:
    ups = 1 + max(int(match[1]) for name in tensors if (match := re.match(r"decoder\.up_blocks\.(\d+)\.", name)))

    def rename(name: str) -> str:
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda match: f"up.{ups - 1 - int(match[1])}.block.{match[2]}", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda match: f"up.{ups - 1 - int(match[1])}.upsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d+)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
        if match := re.match(r"(.*)mid_block\.attentions\.0\.(.*)", name):
            return f"{match[1]}mid.attn_1.{replaced(match[2], VAE_ATTENTION)}"
        return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")

    found = renamed(tensors, rename)
    convolved = re.compile(r"attn_1\.(q|k|v|proj_out)\.weight")
    return {name: tensor[:, :, None, None] if convolved.search(name) else tensor for name, tensor in found.items()}


def open_clip(tensors: Tensors) -> Tensors:
    found: Tensors = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif match := re.match(r"encoder\.layers\.(\d+)\.self_attn\.(q|k|v)_proj\.(weight|bias)", plain):
            joined.setdefault(f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}", {})[match[2]] = tensor
        elif match := re.match(r"encoder\.layers\.(\d+)\.(.*)", plain):
            layer = replaced(match[2], OPEN_CLIP_LAYER).replace("self_attn.out_proj", "attn.out_proj")
            found[f"transformer.resblocks.{match[1]}.{layer}"] = tensor
        else:
            found[OPEN_CLIP[plain]] = tensor
    return found | {name: torch.cat([parts["q"], parts["k"], parts["v"]]) for name, parts in joined.items()}


SD3_ENDS = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
}
SD3_BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn.to_add_out": "context_block.attn.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
SD3_JOINED = {
    "to_q": ("x", 0),
    "to_k": ("x", 1),
    "to_v": ("x", 2),
    "add_q_proj": ("context", 0),
    "add_k_proj": ("context", 1),
    "add_v_proj": ("context", 2),
}


def sd3_transformer(tensors: Tensors) -> Tensors:
    found: Tensors = {}
    joined: dict[str, dict[int, torch.Tensor]] = {}
    last = max(int(match[1]) for name in tensors if (match := re.match(r"transformer_blocks\.(\d+)\.", name)))
    for name, tensor in tensors.items():
        if name == "pos_embed.pos_embed":
            found["pos_embed"] = tensor
        elif match := re.match(r"transformer_blocks\.(\d+)\.(attn2?)\.(\w+)\.([\w.]+)", name):
            if match[3] in SD3_JOINED:
                side, place = SD3_JOINED[match[3]]
                joined.setdefault(f"joint_blocks.{match[1]}.{side}_block.{match[2]}.qkv.{match[4]}", {})[place] = tensor
            else:
                found[f"joint_blocks.{match[1]}.{replaced(name.split('.', 2)[2], SD3_BLOCK)}"] = tensor
        elif match := re.match(r"transformer_blocks\.(\d+)\.(.*)", name):
            swap = int(match[1]) == last and match[2].startswith("norm1_context")
            found[f"joint_blocks.{match[1]}.{replaced(match[2], SD3_BLOCK)}"] = swapped(tensor) if swap else tensor
        elif name.startswith("norm_out.linear"):
            found[name.replace("norm_out.linear", "final_layer.adaLN_modulation.1")] = swapped(tensor)
        else:
            found[replaced(name, SD3_ENDS)] = tensor
    return found | {name: torch.cat([parts[place] for place in range(3)]) for name, parts in joined.items()}


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    """Scale and shift are in the other order."""
    scale, shift = tensor.chunk(2, dim=0)
    return torch.cat([shift, scale], dim=0)
