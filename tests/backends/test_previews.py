from __future__ import annotations

import io

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from PIL import Image

from api.images.backends import pipeline_call, previews
from api.images.backends.engine import progress as engine_progress
from api.images.backends.local import generate
from api.images.backends.previews import Previewer, estimate_clean, projection
from api.images.backends.schedulers import make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES
from api.model_loader import ModelLoader
from tests.backends.conftest import FAMILIES
from tests.backends.recorder import Recorder, request

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preview_is_a_small_jpeg_of_the_picture_s_proportions(
    loader: ModelLoader, hooks: Recorder, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.images.backends.previews.INTERVAL", 0.0)

    generate(loader, [request(model_id=family, width=64, height=32, steps=3)] * 2, hooks)

    assert {index for index, _ in hooks.previews} == {0, 1}
    with Image.open(io.BytesIO(hooks.previews[0][1])) as preview:
        assert (preview.format, preview.size) == ("JPEG", (64, 32))


def test_previews_keep_their_distance_in_time(loader: ModelLoader) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        scheduler = make_scheduler("ddim", lease.pipeline.scheduler, "sd1")
        previewer = Previewer(lease.pipeline_with(scheduler=scheduler), 64, 64)

        assert previewer.due()
        assert not previewer.due()


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_preview_sees_the_picture_behind_the_noise(name: str, prediction: str) -> None:
    noise_schedule = DDIMScheduler(**STABLE_DIFFUSION, prediction_type=prediction)
    scheduler = make_scheduler(name, noise_schedule, "sd1")
    scheduler.set_timesteps(10)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    timestep = scheduler.timesteps[4].round()
    sample = noise_schedule.add_noise(clean, noise, timestep.long()[None])
    if hasattr(scheduler, "is_scale_input_called"):
        sample = sample / noise_schedule.alphas_cumprod[timestep.long()].sqrt()
    output = noise if prediction == "epsilon" else noise_schedule.get_velocity(clean, noise, timestep.long()[None])

    assert torch.allclose(estimate_clean(scheduler, output, timestep, sample), clean, atol=1e-3)


def test_a_preview_sees_the_picture_behind_the_noise_of_a_flow_model() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    timestep = scheduler.timesteps[4]
    sample = scheduler.scale_noise(clean, timestep[None], noise)

    assert torch.allclose(estimate_clean(scheduler, noise - clean, timestep, sample), clean, atol=1e-3)


def test_the_colours_of_latents_are_fitted_once_for_each_autoencoder(loader: ModelLoader) -> None:
    with loader.use("sd1", "text-to-image") as lease, loader.use("sd3", "text-to-image") as other:
        first = projection(lease.pipeline)

        assert projection(lease.pipeline) is first
        assert first.shape == (4 + 1, 3)
        assert projection(other.pipeline).shape == (16 + 1, 3)


# ---------------------------------------------------------------- who wants them


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_that_nobody_watches_have_no_previews_and_pay_nothing(
    loader: ModelLoader, hooks: Recorder, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("something was made for a preview")

    for module, name in (
        (engine_progress, "encode_preview"),
        (engine_progress, "estimate_clean"),
        (previews, "encode_preview"),
    ):
        monkeypatch.setattr(module, name, fail)
    monkeypatch.setattr(pipeline_call, "projection", fail)
    hooks.unwatched = {0, 1}
    [one, other] = generate(loader, [request(model_id=family, steps=3)] * 2, hooks)
    assert not isinstance(one, Exception)
    assert not isinstance(other, Exception)
    assert hooks.previews == []
    assert hooks.steps[-1] == (3, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_watched_request_of_a_batch_alone_has_previews(
    loader: ModelLoader, hooks: Recorder, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (previews, engine_progress):
        monkeypatch.setattr(module, "INTERVAL", 0.0)
    hooks.unwatched = {0}
    generate(loader, [request(model_id=family, steps=3)] * 2, hooks)
    assert {index for index, _ in hooks.previews} == {1}


@pytest.mark.parametrize("family", FAMILIES)
def test_who_comes_late_gets_previews_from_the_next_step_on(
    loader: ModelLoader, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (previews, engine_progress):
        monkeypatch.setattr(module, "INTERVAL", 0.0)
    hooks = Recorder()
    hooks.unwatched = {0}
    on_step = hooks.on_step

    def come_late(step: int, steps: int, shown: list[bytes | None]) -> None:
        on_step(step, steps, shown)
        hooks.unwatched = set() if step >= 2 else {0}

    monkeypatch.setattr(hooks, "on_step", come_late)
    generate(loader, [request(model_id=family, steps=5)], hooks)
    assert len(hooks.previews) == 2  # of steps 3 and 4; the last has its picture


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_the_same_whether_or_not_it_was_watched(
    loader: ModelLoader, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (previews, engine_progress):
        monkeypatch.setattr(module, "INTERVAL", 0.0)
    made = []
    for unwatched in (set(), {0}):
        hooks = Recorder()
        hooks.unwatched = unwatched
        [pictures] = generate(loader, [request(model_id=family, steps=4, deterministic=True)], hooks)
        assert (len(hooks.previews) > 0) == (not unwatched)
        made.append([picture.tobytes() for picture in pictures])
    assert made[0] == made[1]
