"""The engine's latents against those of diffusers' own pipelines, in fp32: every scheduler, family and task."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.engine.conditioning import embed_prompts, is_guided
from api.images.backends.engine.new_rows import make_row
from api.images.backends.engine.passes import JoinCache, fit_tokens, key_of, run_pass
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.backends.inputs import network_mask, source_image
from api.images.backends.request import ImageRequest
from api.images.backends.schedulers import make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES, SCHEDULERS
from api.images.spec import INPAINTING, Img2ImgSpec, Txt2ImgSpec
from api.model_loader import Lease, ModelLoader
from config.catalog import get_catalog
from tests.backends.recorder import painting, request
from tests.models.tiny import build_tiny_inpainting_sd, build_tiny_sd, build_tiny_sd2, build_tiny_sdxl

MODELS = {"sd1": build_tiny_sd, "sd2": build_tiny_sd2, "sdxl": build_tiny_sdxl, "sd1-inpainting": build_tiny_inpainting_sd}
PLAIN_NAMES = tuple(name for name in SCHEDULER_NAMES if not name.endswith("_trailing"))
"""The others are the same classes at other timesteps: one family tells."""
TASKS = {
    "txt2img": {},
    "img2img": {"image": painting(), "strength": 0.6},
    "img2img, whole strength": {"image": painting(), "strength": 1.0},
    "inpainting": {"image": painting(), "mask": Image.linear_gradient("L").resize((64, 64)), "strength": 0.6},
    "inpainting, whole strength": {"image": painting(), "mask": Image.linear_gradient("L").resize((64, 64)), "strength": 1.0},
}
SIZES: dict[str, dict[str, int]] = {"starter": {"width": 32, "height": 32}}
"""Latents of 8 × 8, as the others have them: its autoencoder enlarges by 4, and not by 8."""
FEW_NAMES = ("euler_a", "dpmpp_2m", "heun", "lcm")
"""One of each way to draw noise and to count passes."""
CASES = [
    *itertools.product(("sd1", "sd2", "sdxl", "starter"), TASKS),
    *itertools.product(("sd1-inpainting",), (name for name in TASKS if name.startswith("inpainting"))),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    folder = tmp_path_factory.mktemp("checkpoints")
    entries = {
        name: ModelEntry(id=name, name=name, family=name.split("-")[0], path=build(folder / name), max_batch=8)
        for name, build in MODELS.items()
    }
    shipped = {name: get_catalog().get(name) for name in ("starter", "lanczos")}
    catalog = Catalog(models={**entries, **shipped}, adapters={})
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(catalog, ModelStore(Path(tmp_path_factory.mktemp("store"))), device)


class Hooks:
    def on_step(self, step: int, steps: int, preview: bytes | None) -> None: ...

    def on_load(self, fraction: float, text: str) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def add_time(self, name: str, seconds: float) -> None: ...

    def warn(self, text: str) -> None: ...

    def explain(self, error: Exception) -> DarkroomError:
        raise error


def start(lease: Lease, asked: ImageRequest, *, by_table: bool = False) -> Row:
    return make_row(lease, Task(asked, Hooks(), lambda number, picture: None), 0, by_table=by_table)


def by_engine_alone(lease: Lease, asked: ImageRequest) -> torch.Tensor:
    row = start(lease, asked)
    while not row.is_done:
        run_pass(lease.pipeline.unet, [row], JoinCache())
    return row.latents


def arguments_of_call(pipeline: Any, spec: Txt2ImgSpec) -> dict[str, Any]:
    """Of diffusers' own call, but for sizes and pictures."""
    [stretch] = embed_prompts(pipeline, spec, guided=is_guided(pipeline, spec), warn=lambda text: None)
    prompts = stretch.prompts
    arguments: dict[str, Any] = {
        "prompt_embeds": prompts.embeds,
        "negative_prompt_embeds": prompts.negative_embeds,
        "guidance_scale": spec.guidance_scale,
        "num_inference_steps": spec.steps,
        "generator": torch.Generator("cpu").manual_seed(spec.seed),
        "eta": SCHEDULERS[spec.scheduler].eta if spec.scheduler else 0.0,
        "output_type": "latent",
    }
    if prompts.pooled is not None:
        arguments |= {"pooled_prompt_embeds": prompts.pooled, "negative_pooled_prompt_embeds": prompts.negative_pooled}
    return arguments


@torch.no_grad()
def by_diffusers(lease: Lease, asked: ImageRequest) -> torch.Tensor:
    """The pipeline's own call; also in the order of its arguments' preparation it shares nothing with the engine."""
    spec = asked.spec
    pipeline = lease.pipeline_with(
        spec.task, scheduler=make_scheduler(spec.scheduler, lease.pipeline.scheduler, lease.entry.family)
    )
    pipeline.set_progress_bar_config(disable=True)
    return latents_of_call(pipeline, asked, arguments_of_call(pipeline, spec) | rescale_of_call(pipeline, lease.entry))


def rescale_of_call(pipeline: Any, entry: ModelEntry) -> dict[str, float]:
    """Where the pipeline's call knows it."""
    known = "guidance_rescale" in inspect.signature(pipeline.__call__).parameters
    return {"guidance_rescale": entry.guidance_rescale} if known else {}


def latents_of_call(pipeline: Any, asked: ImageRequest, arguments: dict[str, Any]) -> torch.Tensor:
    """`arguments` and what depends on the task: sizes and pictures."""
    spec = asked.spec
    if not isinstance(spec, Img2ImgSpec):
        return pipeline(width=spec.width, height=spec.height, **arguments).images
    arguments |= {"image": source_image(asked), "strength": spec.strength}
    if spec.task == INPAINTING:
        mask = network_mask(asked, pipeline.vae_scale_factor)
        arguments |= {"mask_image": mask, "width": spec.width, "height": spec.height}
    return pipeline(**arguments).images


@pytest.mark.models
@pytest.mark.parametrize(("model", "task"), CASES, ids=lambda value: str(value))
def test_a_picture_alone_is_exactly_diffusers_own_with_every_scheduler(models: ModelLoader, model: str, task: str) -> None:
    with models.use(model, "text-to-image") as lease:
        for scheduler in (None, *SCHEDULER_NAMES) if model == "sd1" else (None, *PLAIN_NAMES):
            asked = request(model_id=model, steps=5, scheduler=scheduler, **SIZES.get(model, {}), **TASKS[task])
            assert torch.equal(by_engine_alone(lease, asked), by_diffusers(lease, asked)), scheduler


@pytest.mark.models
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.3])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_a_picture_alone_is_exactly_diffusers_own_at_any_guidance(
    models: ModelLoader, model: str, guidance_scale: float
) -> None:
    with models.use(model, "text-to-image") as lease:
        asked = request(
            model_id=model, steps=4, guidance_scale=guidance_scale, negative_prompt="" if guidance_scale <= 1 else "fog"
        )
        assert torch.equal(by_engine_alone(lease, asked), by_diffusers(lease, asked))


@pytest.mark.models
@pytest.mark.parametrize(("model", "task"), [("sd1", "txt2img"), ("sd1", "img2img"), ("sdxl", "txt2img"), ("sdxl", "img2img")])
def test_a_models_own_rescaling_of_guidance_is_that_of_diffusers_where_its_call_knows_it(
    models: ModelLoader, model: str, task: str
) -> None:
    asked = request(model_id=model, steps=4, guidance_scale=7.3, **TASKS[task])
    with models.use(model, "text-to-image") as lease:
        plain = by_engine_alone(lease, asked)
        lease.entry = dataclasses.replace(lease.entry, guidance_rescale=0.7)
        rescaled = by_engine_alone(lease, asked)
        assert torch.equal(rescaled, by_diffusers(lease, asked))
        assert torch.equal(rescaled, plain) == ((model, task) == ("sd1", "img2img"))


@pytest.mark.models
@pytest.mark.parametrize("by_table", [False, True], ids=["scheduler objects", "coefficient tables"])
@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl", "starter", "sd1-inpainting"])
def test_in_a_batch_that_others_join_and_leave_each_picture_is_the_same_but_for_rounding(
    models: ModelLoader, model: str, by_table: bool
) -> None:
    """Up to eight at once, with all schedulers, tasks, and numbers of steps, with and without guidance, long and short prompts."""
    tasks = [task for task in TASKS if model != "sd1-inpainting" or task.startswith("inpainting")]
    names = (*PLAIN_NAMES, *(name for name in SCHEDULER_NAMES if name not in PLAIN_NAMES))
    mixed = [
        request(model_id=model, prompt="a red circle, " * (1 if number % 3 else 15), **SIZES.get(model, {}), **fields)
        for number, fields in enumerate(mixed_fields(names, tasks))
    ]
    with models.use(model, "text-to-image") as lease:
        for asked, (latents, largest) in zip(mixed, run_together(lease, mixed, by_table), strict=True):
            assert (latents - by_diffusers(lease, asked)).abs().max() <= 1e-5 * largest, asked.spec.scheduler


def mixed_fields(names: Sequence[str] = PLAIN_NAMES, tasks: Sequence[str] = tuple(TASKS)) -> list[dict[str, Any]]:
    """Requests that differ in all that can differ within a batch: the model's own scheduler and each of `names` once."""
    return [
        {
            "seeds": (number,),
            "steps": 3 + number % 5,
            "guidance_scale": (1.0, 4.0, 7.5)[number % 3],
            "scheduler": scheduler,
            **TASKS[tasks[number % len(tasks)]],
        }
        for number, scheduler in enumerate((None, *names))
    ]


def run_together(lease: Lease, requests: Sequence[ImageRequest], by_table: bool) -> list[tuple[torch.Tensor, float]]:
    """The latents of each, and the largest on its way. One more joins at each pass while there are fewer than eight."""
    waiting, rows, joined = deque(requests), list[Row](), list[Row]()
    largest: dict[Row, float] = {}
    cache = JoinCache()
    while waiting or rows:
        if waiting and len(rows) < 8:
            rows.append(start(lease, waiting.popleft(), by_table=by_table))
            joined.append(rows[-1])
        for row in rows:
            largest[row] = max(largest.get(row, 0.0), float(row.latents.abs().max()))
        run_pass(lease.pipeline.unet, choose(rows), cache)
        rows = [row for row in sorted(rows, key=lambda row: row.position) if not row.is_done]
    return [(row.latents, largest[row]) for row in joined]


def choose(rows: list[Row]) -> list[Row]:
    return fit_tokens([row for row in rows if key_of(row) == key_of(rows[0])])


@pytest.mark.models
@pytest.mark.parametrize("task", ["txt2img", "img2img"])
def test_a_model_for_inpainting_makes_no_other_pictures_and_says_so(models: ModelLoader, task: str) -> None:
    with models.use("sd1-inpainting", "text-to-image") as lease, pytest.raises(DarkroomError) as caught:
        start(lease, request(model_id="sd1-inpainting", steps=2, **TASKS[task]))
    assert (caught.value.code, caught.value.status, caught.value.field) == ("unsupported_task", 400, "model_id")
    assert "is a model for inpainting" in caught.value.detail
