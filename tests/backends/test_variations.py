"""Pictures near to another one: noise between that of two seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from api.images.backends.engine.first_latents import interpolate
from api.images.backends.local import generate
from api.images.seeds import SeedShare, Variation
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, painting, psnr, request

MASK = Image.linear_gradient("L").resize((64, 64))
TASKS: dict[str, dict[str, Any]] = {
    "txt2img": {},
    "img2img": {"image": painting(), "strength": 0.6},
    "inpainting": {"image": painting(), "mask": MASK, "strength": 0.6},
    "inpainting, whole strength": {"image": painting(), "mask": MASK, "strength": 1.0},
}


def make(loader: ModelLoader, **fields: Any) -> list[Image.Image]:
    [pictures] = generate(loader, [request(**{"steps": 5, **fields})], Recorder())
    return pictures


@pytest.mark.parametrize("scheduler", [None, "euler", "euler_a", "dpmpp_2m_sde_karras"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_strength_0_is_the_varied_picture_and_strength_1_the_own_one(
    loader: ModelLoader, model: str, task: str, scheduler: str | None
) -> None:
    fields = {"model_id": model, "scheduler": scheduler, **TASKS[task]}
    origin, own = (make(loader, seeds=(seed,), **fields)[0] for seed in (7, 50))

    none, half, all_of_it = (
        make(loader, seeds=(50,), variation=Variation(seed=7, strength=strength), **fields)[0] for strength in (0, 0.5, 1)
    )
    assert none.tobytes() == origin.tobytes()
    assert all_of_it.tobytes() == own.tobytes()
    assert half.tobytes() not in (origin.tobytes(), own.tobytes())


def test_the_smaller_the_strength_the_nearer_is_the_picture(loader: ModelLoader) -> None:
    [origin] = make(loader, seeds=(7,))
    likeness = [
        psnr(make(loader, seeds=(50,), variation=Variation(seed=7, strength=strength))[0], origin)
        for strength in (0.05, 0.3, 1)
    ]

    assert likeness == sorted(likeness, reverse=True)


def test_the_pictures_of_a_request_are_variations_each_of_its_own_seed(loader: ModelLoader) -> None:
    variation = Variation(seed=7, strength=0.4)
    first, second = make(loader, seeds=(50, 51), variation=variation)

    assert psnr(first, make(loader, seeds=(50,), variation=variation)[0]) >= 40
    assert psnr(second, make(loader, seeds=(51,), variation=variation)[0]) >= 40
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("scheduler", [None, "euler_a"])
def test_a_variation_of_a_variation_begins_where_that_one_did(loader: ModelLoader, scheduler: str | None) -> None:
    [varied] = make(loader, seeds=(50,), scheduler=scheduler, variation=Variation(seed=7, strength=0.4))
    again = Variation(seed=7, earlier=(SeedShare(seed=50, strength=0.4),), strength=0)

    assert make(loader, seeds=(99,), scheduler=scheduler, variation=again)[0].tobytes() == varied.tobytes()


def test_mixed_noise_has_the_spread_of_noise() -> None:
    low, high = (torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    for strength in (0.1, 0.5, 0.9):
        assert abs(float(interpolate(low, high, strength).std()) - 1) < 0.03
    assert torch.equal(interpolate(low, high, 0), low)
    assert torch.allclose(interpolate(low, high, 1), high, atol=1e-5)
    assert np.isfinite(interpolate(low, low, 0.5).numpy()).all()


def test_it_is_automatic1111_s_interpolation() -> None:
    """Of its `slerp`, written out for one picture: the angle is that of each column."""
    low, high = (torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    dot = ((low / low.norm(dim=1, keepdim=True)) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    omega = torch.acos(dot)
    expected = (torch.sin(0.7 * omega) / torch.sin(omega)).unsqueeze(1) * low + (
        torch.sin(0.3 * omega) / torch.sin(omega)
    ).unsqueeze(1) * high

    assert torch.allclose(interpolate(low[None], high[None], 0.3)[0], expected, atol=1e-5)
