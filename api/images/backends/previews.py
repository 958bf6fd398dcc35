"""What the picture will be, seen cheaply while it is made.  [torch]

A latent's channels hold colour almost linearly, so a small matrix (channels → RGB) gives a picture of an eighth of the size
without running the decoder. The matrix is not a table of known models, since ours and an owner's are not in any: it is
fitted once for each loaded autoencoder, by least squares, on a synthetic picture that the autoencoder encodes.
"""

from __future__ import annotations

import functools
import io
import time
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as functional
from diffusers.utils.torch_utils import is_compiled_module
from PIL import Image

from api.images.backends.latents import spread_latents, unscale_latents

INTERVAL = 0.25
"""Seconds between previews, at least."""
LONGEST_SIDE = 256
_FITTED_SIZE = 128
_RIDGE = 1e-3

_projections: WeakKeyDictionary[torch.nn.Module, torch.Tensor] = WeakKeyDictionary()


class Previewer:
    """Makes small JPEGs of what the denoiser sees behind the noise, at most once in INTERVAL seconds.

    It listens to the scheduler of its pipeline, which must belong to this call alone.
    """

    def __init__(self, pipeline: Any, width: int, height: int) -> None:
        self._pipeline, self._width, self._height = pipeline, width, height
        self._last = 0.0
        self._seen: tuple[torch.Tensor, Any, torch.Tensor] | None = None
        self._listen(pipeline.scheduler)

    def due(self) -> bool:
        """Is it time for another? Answering yes starts the interval again."""
        now = time.monotonic()
        if now - self._last < INTERVAL:
            return False
        self._last = now
        return True

    @torch.no_grad()
    def make(self, rows: list[int]) -> list[bytes]:
        """A JPEG for each of these rows of the batch, as of the last step."""
        if self._seen is None:
            return []
        output, timestep, sample = self._seen
        clean = estimate_clean(self._pipeline.scheduler, output[rows].float(), timestep, sample[rows].float())
        return [encode_preview(self._pipeline, one, self._width, self._height) for one in clean.split(1)]

    def _listen(self, scheduler: Any) -> None:
        step = scheduler.step

        @functools.wraps(step)  # pipelines look at its signature
        def listening(output: torch.Tensor, timestep: Any, sample: torch.Tensor, *rest: Any, **options: Any) -> Any:
            self._seen = output, timestep, sample
            return step(output, timestep, sample, *rest, **options)

        scheduler.step = listening


@torch.no_grad()
def encode_preview(pipeline: Any, clean: torch.Tensor, width: int, height: int) -> bytes:
    """A small JPEG of latents without noise (1, channels, …), of a picture of `width` × `height` pixels."""
    spread = spread_latents(pipeline, clean, width, height)
    axes = tuple(range(1, spread.ndim))
    spread = spread / spread.std(dim=axes, keepdim=True).clamp(min=1.0)  # the first estimates are far off
    maps = unscale_latents(pipeline.vae, spread)
    maps = maps[:, :, 0] if maps.ndim == 5 else maps
    [pixels] = _project(maps, projection(pipeline)).cpu().numpy()
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    written = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(written, "JPEG", quality=75)
    return written.getvalue()


def estimate_clean(scheduler: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor) -> torch.Tensor:
    """The latents without noise that the denoiser's output amounts to: "x0" of DDIM (arXiv:2010.02502, equation 12)."""
    if not hasattr(scheduler, "alphas_cumprod"):  # flow matching: a straight line from noise, time in thousandths
        return sample - float(timestep) / scheduler.config.num_train_timesteps * output
    alpha = scheduler.alphas_cumprod[round(float(timestep))].to(sample).clamp(min=1e-4)
    if hasattr(scheduler, "is_scale_input_called"):  # these add noise to latents, the others mix it in
        sample = sample * alpha.sqrt()
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind == "v_prediction":
        return alpha.sqrt() * sample - (1 - alpha).sqrt() * output
    return output if kind == "sample" else (sample - (1 - alpha).sqrt() * output) / alpha.sqrt()


def projection(pipeline: Any) -> torch.Tensor:
    """(channels + 1, 3) in fp32: latents at the autoencoder's own scale, and a one, to RGB in [-1, 1]."""
    vae = pipeline.vae
    if vae not in _projections:
        _projections[vae] = _fit(pipeline)
    return _projections[vae]


@torch.no_grad()
def _fit(pipeline: Any) -> torch.Tensor:
    picture = _synthetic_picture()
    latents = _encode_picture(pipeline, picture)
    targets = functional.interpolate(picture, size=latents.shape[-2:], mode="area")
    rows = _with_one(latents.double())
    wanted = targets.flatten(2)[0].T.double().to(rows.device)
    ridge = _RIDGE * len(rows) * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    return torch.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted).float()


def _synthetic_picture() -> torch.Tensor:
    """(1, 3, size, size) in [-1, 1]: fields of colour, coarse and fine, the same each time."""
    generator = torch.Generator().manual_seed(0)
    fields = [torch.rand(1, 3, cells, cells, generator=generator) * 2 - 1 for cells in (4, 8, 16)]
    size = (_FITTED_SIZE, _FITTED_SIZE)
    return sum(functional.interpolate(field, size=size, mode="nearest") for field in fields).clamp(-1.5, 1.5) / 1.5  # type: ignore[union-attr]


def _encode_picture(pipeline: Any, picture: torch.Tensor) -> torch.Tensor:
    """(1, channels, h, w) at the autoencoder's own scale."""
    vae = pipeline.vae
    pixels = picture.to(pipeline._execution_device, vae.dtype)
    encoded = vae.encode(pixels.unsqueeze(2) if _is_video(vae) else pixels)
    latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    latents = torch.nan_to_num(latents.float())
    return latents[:, :, 0] if latents.ndim == 5 else latents


def _is_video(vae: Any) -> bool:
    first = vae._orig_mod if is_compiled_module(vae) else vae
    return any(isinstance(module, torch.nn.Conv3d) for module in first.encoder.modules())


def _with_one(latents: torch.Tensor) -> torch.Tensor:
    """(1, c, h, w) → (h·w, c + 1)."""
    rows = latents.flatten(2)[0].T
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)


def _project(maps: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) → (n, h, w, 3) of bytes."""
    matrix = matrix.to(maps.device)
    colours = torch.einsum("nchw,ck->nhwk", maps, matrix[:-1]) + matrix[-1]
    return ((torch.nan_to_num(colours).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
