from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler, PNDMScheduler
from PIL import Image

from api.catalog import BUILT_IN, load_catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.schedulers import build_scheduler, check_steps, make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES, most_steps, scheduler_label, scheduler_names
from api.images.spec import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE
from api.model_loader import ModelLoader
from tests.backends.conftest import FAMILIES
from tests.backends.recorder import Recorder, painting, request

STARTER = BUILT_IN.parents[1] / "starter" / "weights" / "starter"
STEPS = (1, 2, 20, 25, 61, 150)


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
@pytest.mark.parametrize("steps", [1, 3])
def test_every_scheduler_makes_a_picture(loader: ModelLoader, hooks: Recorder, name: str, steps: int) -> None:
    [[picture]] = generate(loader, [request(scheduler=name, steps=steps, width=32, height=32)], hooks)

    assert picture.size == (32, 32)
    assert hooks.steps[-1][0] == hooks.steps[-1][1]


@pytest.fixture(scope="session")
def own_schedulers(loader: ModelLoader) -> dict[str, Any]:
    """Of the starter and of a checkpoint of each family."""
    found = {"starter": _read_scheduler(STARTER)}
    for family in FAMILIES:
        folder = loader.catalog.get(family).path
        assert folder is not None
        found[family] = _read_scheduler(folder)
    return found


def _read_scheduler(folder: Path) -> Any:
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    return getattr(diffusers, config["_class_name"]).from_config(config)


def run_loop(scheduler: Any, steps: int, strength: float | None) -> torch.Tensor:
    """As the pipelines do it, with a network that answers noise; from `strength` on where it is given."""
    torch.manual_seed(0)
    scheduler.set_timesteps(steps)
    begin = 0
    if strength is not None:
        begin = (steps - int(steps * strength)) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
    sample = torch.randn(1, 4, 2, 2)
    for timestep in scheduler.timesteps[begin:]:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(sample, timestep)
        sample = scheduler.step(torch.randn(1, 4, 2, 2), timestep, sample, return_dict=False)[0]
    return sample


@pytest.mark.parametrize("name", [None, *SCHEDULER_NAMES])
def test_every_scheduler_runs_all_its_steps_with_every_family(own_schedulers: dict[str, Any], name: str | None) -> None:
    for family, own in own_schedulers.items():
        if name is not None and name not in scheduler_names(family):
            continue
        scheduler = make_scheduler(name, own, family)
        for steps, strength in itertools.product([steps for steps in STEPS if steps <= most_steps(name)], (None, 0.6)):
            sample = run_loop(scheduler, steps, strength)

            assert torch.isfinite(sample).all(), (family, steps, strength)
            done = getattr(scheduler, "step_index", None)
            assert done in (None, len(scheduler.timesteps)), (family, steps, strength)


@pytest.fixture(scope="session")
def starter_loader(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(load_catalog(), ModelStore(tmp_path_factory.mktemp("models")), device)


@pytest.mark.parametrize("task", [TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING])
@pytest.mark.parametrize("name", ["dpmpp_2m_karras", "dpmpp_2m_sde_karras", "unipc_karras"])
def test_karras_schedulers_whose_first_timesteps_are_equal_make_pictures_with_the_starter(
    starter_loader: ModelLoader, hooks: Recorder, name: str, task: str
) -> None:
    pictures = {} if task == TEXT_TO_IMAGE else {"image": painting(), "strength": 0.9}
    pictures |= {"mask": Image.new("L", (64, 64), 255)} if task == INPAINTING else {}

    asked = request(model_id="starter", scheduler=name, steps=25, **pictures)

    assert generate(starter_loader, [asked], hooks)[0]
    assert hooks.steps[-1][0] == hooks.steps[-1][1]


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_the_table_s_limit_of_steps_is_the_scheduler_s_own(name: str) -> None:
    scheduler = make_scheduler(name, DDIMScheduler(), "sd1")

    check_steps(scheduler, most_steps(name))
    with pytest.raises(DarkroomError, match=f"at most {most_steps(name)} steps") as raised:
        check_steps(scheduler, most_steps(name) + 1)

    assert (raised.value.status, raised.value.field) == (400, "steps")


def test_a_model_s_own_scheduler_may_have_a_lower_limit() -> None:
    with pytest.raises(DarkroomError, match="at most 20 steps"):
        check_steps(make_scheduler(None, LCMScheduler(original_inference_steps=20), "sd1"), 25)


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


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_nothing_of_one_call_is_left_in_the_scheduler_of_the_next(own_schedulers: dict[str, Any], name: str) -> None:
    run_loop(make_scheduler(name, own_schedulers["starter"], "sd1"), 4, 0.6)
    made = build_scheduler(name, own_schedulers["starter"], "sd1")
    new = type(made).from_config(made.config)
    assert vars(made).keys() == vars(new).keys()
    for key, value in vars(new).items():
        if torch.is_tensor(value):
            torch.testing.assert_close(vars(made)[key], value, rtol=0, atol=0, equal_nan=True)
        else:
            assert repr(vars(made)[key]) == repr(value), key


def test_labels_are_those_of_automatic1111() -> None:
    assert [scheduler_label(name) for name in ("euler_a", "dpmpp_2m_karras", None)] == ["Euler a", "DPM++ 2M Karras", ""]


@pytest.mark.parametrize("module", ["api.images.scheduler_presets", "api.images.metadata", "api.images.backends.request"])
def test_what_a_web_process_reads_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
