"""Which dtype each component of a diffusers checkpoint is held in.  [torch; no Django]"""

from __future__ import annotations

from pathlib import Path

import torch

from api.devices import Device
from api.loading.checkpoints import read_json


def choose_dtypes(folder: Path, device: Device) -> dict[str, torch.dtype]:
    """By component's name, with "default" for the others: what diffusers' `from_pretrained` takes as `dtype`.

    Half precision has two exceptions. Diffusion transformers (FLUX, SD 3, Qwen-Image …) are trained in bf16 and overflow in fp16.
    SDXL's first VAE overflows in fp16 too and says so (`force_upcast`): it runs in bf16, or in fp32 where bf16 is slow.
    """
    if device.dtype == torch.float32:
        return {"default": torch.float32}
    index = read_json(folder / "model_index.json")
    if "transformer" in index:
        return {"default": torch.bfloat16}
    dtypes = {"default": device.dtype}
    is_xl = str(index.get("_class_name", "")).startswith("StableDiffusionXL")
    if is_xl and device.dtype == torch.float16 and read_json(folder / "vae" / "config.json").get("force_upcast", True):
        dtypes["vae"] = torch.bfloat16 if device.is_fast(torch.bfloat16) else torch.float32
    return dtypes
