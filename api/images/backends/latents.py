"""From latents to pictures: every family's latents in one form, and the autoencoder's last word.  [torch]"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from api.errors import DarkroomError
from api.loading.few_bits import plain_tensors


def spread_latents(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Latents as a map (n, channels, [1,] height, width); some transformers pack them into a row of 2×2 patches."""
    if latents.ndim == 3:
        return pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    return latents


def unscale_latents(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """From the denoiser's unit variance to the autoencoder's own scale, by what its configuration says."""
    config = vae.config
    mean, std = config.get("latents_mean"), config.get("latents_std")
    scale = config.get("scaling_factor") or 1.0
    if mean is None or std is None:
        return latents / scale + (config.get("shift_factor") or 0.0)
    return latents * _per_channel(std, latents) / scale + _per_channel(mean, latents)


def decode_latents(pipeline: Any, latents: torch.Tensor) -> Image.Image:
    """One picture from one map of latents (1, channels, …), as of spread_latents. Raises DarkroomError (not_finite, 500)."""
    [decoded] = decode_batch(pipeline, latents)
    if isinstance(decoded, DarkroomError):
        raise decoded
    return decoded


@torch.no_grad()
def decode_batch(pipeline: Any, latents: torch.Tensor) -> list[Image.Image | DarkroomError]:
    """For each map of latents (n, channels, …) its picture, or DarkroomError (not_finite, 500; broken_model, 422)."""
    pixels = _decode(pipeline, latents)
    if pipeline.vae.dtype != torch.float32:
        pixels = _decode_again(pipeline, latents, pixels.float())
    finite = _finite_rows(pixels)
    pictures = pipeline.image_processor.postprocess(torch.nan_to_num(pixels.float()), output_type="pil")
    return [picture if is_finite else _not_finite(pipeline) for picture, is_finite in zip(pictures, finite, strict=True)]


def _decode_again(pipeline: Any, latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """`pixels`, with those rows in fp32 which overflowed in less; the others keep theirs, whatever is beside them."""
    finite = _finite_rows(pixels)
    for number, row in enumerate(latents.split(1)):
        if not finite[number] and torch.isfinite(row).all():
            with _in_float32(pipeline.vae):
                pixels[number] = _decode(pipeline, row)[0]
    return pixels


def _finite_rows(pixels: torch.Tensor) -> list[bool]:
    return torch.isfinite(pixels).flatten(1).all(dim=1).tolist()  # type: ignore[no-any-return]


def _not_finite(pipeline: Any) -> DarkroomError:
    """A checkpoint with such values is named: it can't make a picture, however often it is tried."""
    for component, module in pipeline.components.items():
        for name, weight in module.named_parameters() if isinstance(module, torch.nn.Module) else ():
            if not all(torch.isfinite(tensor).all() for tensor in plain_tensors(weight)):
                detail = f"The checkpoint is damaged: the tensor {name} of {component} has values that are not numbers."
                return DarkroomError("broken_model", 422, detail)
    return DarkroomError("not_finite", 500, "The model gave a picture with values that are not numbers.")


@contextmanager
def _in_float32(vae: Any) -> Iterator[None]:
    dtype = vae.dtype
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(dtype)


def _decode(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    """(1, 3, height, width) in [-1, 1]. Autoencoders of video have one more axis, here with a single frame."""
    vae = pipeline.vae
    scaled = unscale_latents(vae, latents.to(pipeline._execution_device, vae.dtype))
    pixels = vae.decode(scaled, return_dict=False)[0]
    return pixels[:, :, 0] if pixels.ndim == 5 else pixels


def _per_channel(values: Any, latents: torch.Tensor) -> torch.Tensor:
    shape = (1, -1) + (1,) * (latents.ndim - 2)
    return torch.tensor(values, device=latents.device, dtype=latents.dtype).view(shape)
