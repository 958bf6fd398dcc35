"""`hires`: a second pass is exactly what image-to-image makes of the enlarged first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from PIL import Image

from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.hires import HiresUse, enlarged_size
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, painting, request
from tests.backends.test_engine_equality import by_diffusers
from tests.backends.test_engine_equality import models as models  # the fixture

pytestmark = pytest.mark.models
LATENT = HiresUse(scale=1.5, strength=0.6, upscaler="latent")
PICTURE = HiresUse(scale=2, steps=5, strength=0.5, upscaler="lanczos")


def made(loader: ModelLoader, asked: ImageRequest, hooks: Recorder | None = None) -> Image.Image:
    [[picture]] = generate(loader, [asked], hooks or Recorder())  # type: ignore[misc]
    return picture


@pytest.mark.parametrize("first", [{}, {"image": painting(), "strength": 0.7}], ids=["txt2img", "img2img"])
@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl", "starter"])
def test_over_a_picture_it_is_img2img_of_that_picture_enlarged(models: ModelLoader, model: str, first: dict[str, Any]) -> None:
    asked = {"model_id": model, "steps": 4, "seeds": (7,)}
    small = made(models, request(**asked, **first))
    enlarged = small.resize((128, 128), Image.Resampling.LANCZOS)
    second = made(models, request(**{**asked, "steps": 5}, image=enlarged, strength=0.5, width=128, height=128))
    assert made(models, request(**asked, **first, hires=PICTURE)).tobytes() == second.tobytes()


@pytest.mark.parametrize("scheduler", [None, "euler_a", "heun", "pndm", "dpmpp_2m_karras"])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_over_latents_it_is_diffusers_own_call_with_these_latents_enlarged(
    models: ModelLoader, model: str, scheduler: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.images.backends.engine import engine

    decoded: list[torch.Tensor] = []
    plain = engine.decode_batch
    monkeypatch.setattr(
        engine, "decode_batch", lambda pipeline, latents: (decoded.append(latents), plain(pipeline, latents))[1]
    )
    asked = request(model_id=model, steps=5, scheduler=scheduler, hires=LATENT)
    assert made(models, asked).size == (96, 96)
    with models.use(model, "text-to-image") as lease:
        first = by_diffusers(lease, request(model_id=model, steps=5, scheduler=scheduler))
        size = tuple(side * 3 // 2 for side in first.shape[-2:])
        enlarged = functional.interpolate(first, size=size, mode="bilinear", align_corners=False)
        second = request(
            model_id=model, steps=5, scheduler=scheduler, strength=0.6, width=96, height=96, image=painting(96, 96)
        )
        monkeypatch.setattr("tests.backends.test_engine_equality.source_image", lambda asked: enlarged)
        expected = by_diffusers(lease, second)
    assert torch.equal(decoded[-1], expected)


def test_the_steps_of_both_passes_are_counted_as_one(models: ModelLoader) -> None:
    hooks = Recorder()
    made(models, request(model_id="sd1", steps=4, hires=PICTURE), hooks)
    assert hooks.steps == [(step, 6) for step in range(1, 7)]
    assert hooks.timings["enlarge"] > 0


def test_each_of_several_pictures_gets_its_own_second_pass(models: ModelLoader) -> None:
    [several] = generate(models, [request(model_id="sd1", seeds=(1, 2, 3), hires=LATENT)], Recorder())
    assert isinstance(several, list)
    assert [picture.size for picture in several] == [(96, 96)] * 3
    for seed, picture in zip((1, 2, 3), several, strict=True):
        alone = made(models, request(model_id="sd1", seeds=(seed,), hires=LATENT))
        difference = torch.tensor(list(picture.tobytes()), dtype=torch.int) - torch.tensor(
            list(alone.tobytes()), dtype=torch.int
        )
        assert difference.abs().max() <= 1


def test_cancelled_in_the_second_pass_it_stops_there(models: ModelLoader) -> None:
    hooks = Recorder(cancel_when=lambda recorder, index: bool(recorder.steps) and recorder.steps[-1][0] >= 5)
    assert generate(models, [request(model_id="sd1", steps=4, hires=PICTURE)], hooks) == [[]]
    assert hooks.steps[-1] == (5, 6)


@pytest.mark.parametrize(
    ("scale", "size"), [(1, (64, 72)), (1.5, (96, 112)), (2, (128, 144)), (1.07, (72, 80)), (4, (256, 288))]
)
def test_the_second_size_is_the_nearest_in_multiples_of_8(scale: float, size: tuple[int, int]) -> None:
    assert enlarged_size(64, 72, scale) == size
