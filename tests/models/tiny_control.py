"""Small ControlNets with weights that act: those of a fresh one are zero where it joins the UNet."""

from __future__ import annotations

import inspect
from math import log2
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel, UNet2DConditionModel

ACTING = ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out", "spatial_ch_projs")
"""Layers that a fresh network has zeros in."""


def build_tiny_control(folder: Path, model: Path, *, seed: int = 0) -> Path:
    """A ControlNet for the checkpoint in `model`, as diffusers writes it."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    vae = AutoencoderKL.from_pretrained(model / "vae")
    steps = round(log2(2 ** (len(vae.config.block_out_channels) - 1)))
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[: steps + 1])
    for name, parameter in control.named_parameters():
        if name.startswith(ACTING):
            torch.nn.init.normal_(parameter, std=0.2)
    control.save_pretrained(folder)
    return folder


def build_tiny_union(folder: Path, model: Path, *, types: int = 8) -> Path:
    """A ControlNet Union for the checkpoint in `model`: one network that reads maps of so many types."""
    plain = ControlNetModel.from_pretrained(build_tiny_control(folder, model))
    known = inspect.signature(ControlNetUnionModel.__init__).parameters
    width = plain.config.block_out_channels[0]
    own = {"num_control_type": types, "num_trans_channel": width, "num_proj_channel": width}
    torch.manual_seed(0)
    union = ControlNetUnionModel(**{name: value for name, value in plain.config.items() if name in known} | own)
    for name, parameter in union.named_parameters():
        if name.startswith(ACTING):
            torch.nn.init.normal_(parameter, std=0.2)
    union.save_pretrained(folder)
    return folder
