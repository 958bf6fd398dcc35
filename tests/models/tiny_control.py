"""Small ControlNets with weights that act: those of a fresh one are zero where it joins the UNet."""

from __future__ import annotations

from math import log2
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel


def build_tiny_control(folder: Path, model: Path, *, seed: int = 0) -> Path:
    """A ControlNet for the checkpoint in `model`, as diffusers writes it."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    vae = AutoencoderKL.from_pretrained(model / "vae")
    steps = round(log2(2 ** (len(vae.config.block_out_channels) - 1)))
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[: steps + 1])
    for name, parameter in control.named_parameters():
        if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(parameter, std=0.2)
    control.save_pretrained(folder)
    return folder
