from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import DDIMScheduler, PNDMScheduler

from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.schedulers import make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES, scheduler_label, scheduler_names
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
@pytest.mark.parametrize("steps", [1, 3])
def test_every_scheduler_makes_a_picture(loader: ModelLoader, hooks: Recorder, name: str, steps: int) -> None:
    [[picture]] = generate(loader, [request(scheduler=name, steps=steps, width=32, height=32)], hooks)

    assert picture.size == (32, 32)
    assert hooks.steps[-1][0] == hooks.steps[-1][1]


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_flow_models_take_the_schedulers_listed_for_them(loader: ModelLoader, hooks: Recorder, family: str) -> None:
    for name in scheduler_names(family):
        assert generate(loader, [request(model_id=family, scheduler=name, width=32, height=32)], hooks)[0]


def test_a_scheduler_that_does_not_fit_the_family_names_those_that_do(loader: ModelLoader, hooks: Recorder) -> None:
    with pytest.raises(DarkroomError, match="use one of heun, euler") as raised:
        generate(loader, [request(model_id="sd3", scheduler="euler_a")], hooks)

    assert (raised.value.code, raised.value.status, raised.value.field) == ("scheduler_unsupported", 400, "scheduler")


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_the_model_s_prediction_type_betas_and_spacing_are_kept(name: str) -> None:
    original = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )

    made = make_scheduler(name, original, "sd1")

    kept = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
    assert [made.config[key] for key in kept] == [original.config[key] for key in kept]
    assert made.config.get("timestep_spacing", "trailing") == "trailing"


@pytest.mark.parametrize("name", ["ddim", "ddpm", "lcm", "tcd"])
def test_latents_are_never_clipped_like_pixels(name: str) -> None:
    assert make_scheduler(name, DDIMScheduler(clip_sample=True), "sd1").config.clip_sample is False


def test_each_call_gets_a_scheduler_of_its_own(loader: ModelLoader, hooks: Recorder) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        original = lease.pipeline.scheduler
    generate(loader, [request(scheduler="unipc")], hooks)

    with loader.use("sd1", "text-to-image") as lease:
        assert lease.pipeline.scheduler is original
        assert original.num_inference_steps is None


def test_labels_are_those_of_automatic1111() -> None:
    assert [scheduler_label(name) for name in ("euler_a", "dpmpp_2m_karras", None)] == ["Euler a", "DPM++ 2M Karras", ""]


@pytest.mark.parametrize("module", ["api.images.scheduler_presets", "api.images.metadata", "api.images.backends.request"])
def test_what_a_web_process_reads_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
