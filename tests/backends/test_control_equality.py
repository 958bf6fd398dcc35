"""ControlNets in the engine's loop against diffusers' own ControlNet pipelines, in fp32: every scheduler, family and task."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, MultiControlNetModel
from PIL import Image

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends.control_inputs import control_map, notes_on_controls
from api.images.backends.engine.control import ControlNets, make_controls
from api.images.backends.engine.engine import Engine as ImageEngine
from api.images.backends.engine.new_rows import make_row
from api.images.backends.engine.passes import JoinCache, controlnets_of, fit_tokens, key_of, run_pass
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.backends.inputs import source_image
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.backends.schedulers import make_scheduler
from api.images.hires import HiresUse
from api.images.spec import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE, Img2ImgSpec, Outpaint
from api.model_loader import Lease, ModelLoader
from config.catalog import get_catalog
from tests.backends.recorder import Recorder, psnr, request
from tests.backends.test_engine_equality import (
    FEW_NAMES,
    PLAIN_NAMES,
    TASKS,
    Hooks,
    arguments_of_call,
    latents_of_call,
    mixed_fields,
    rescale_of_call,
)
from tests.models.tiny import build_tiny_sd, build_tiny_sd2, build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control

MODELS = {"sd1": build_tiny_sd, "sd2": build_tiny_sd2, "sdxl": build_tiny_sdxl}
PIPELINES = {
    TEXT_TO_IMAGE: AutoPipelineForText2Image,
    IMAGE_TO_IMAGE: AutoPipelineForImage2Image,
    INPAINTING: AutoPipelineForInpainting,
}
CASES = [*itertools.product(("sd1", "sdxl", "starter"), TASKS), ("sd2", "txt2img")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    """Two ControlNets for each model: `sd1-control-0` …"""
    folder = tmp_path_factory.mktemp("checkpoints")
    entries = {
        name: ModelEntry(id=name, name=name, family=name, path=build(folder / name), max_batch=8)
        for name, build in MODELS.items()
    } | {name: get_catalog().get(name) for name in ("starter", "lanczos")}
    for name, entry in [item for item in entries.items() if item[0] != "lanczos"]:
        for seed in range(2):
            assert entry.path
            path = build_tiny_control(folder / f"{name}-control-{seed}", entry.path, seed=seed)
            control = ModelEntry(id=path.name, name=path.name, task="controlnet", family=entry.family, path=path)
            entries[control.id] = control
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(Catalog(models=entries, adapters={}), ModelStore(Path(tmp_path_factory.mktemp("store"))), device)


def map_of(seed: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 2, (side, side), np.uint8) * 255).convert("RGB")


def controlled(model: str, uses: Sequence[tuple[int, dict[str, Any]]], **fields: Any) -> ImageRequest:
    """`uses`: which of the model's ControlNets, and the fields of its ControlUse."""
    control = tuple({"image": "c", "model_id": f"{model}-control-{number}", **use} for number, use in uses)
    return request(model_id=model, control=control, controls=[map_of(n) for n in range(len(uses))], **fields)


@dataclass
class Engine:
    """The engine's parts, without the threads and measures around them."""

    lease: Lease
    controlnets: ControlNets

    def start(self, asked: ImageRequest, *, by_table: bool = False) -> Row:
        task = Task(asked, Hooks(), lambda number, picture: None)
        controls = make_controls(self.lease, task, self.controlnets)
        return make_row(self.lease, task, 0, by_table=by_table, controls=controls)

    def run_pass(self, rows: Sequence[Row], cache: JoinCache) -> None:
        with self.controlnets.running(controlnets_of(rows)) as networks:
            run_pass(self.lease.pipeline.unet, rows, cache, networks)

    def alone(self, asked: ImageRequest) -> torch.Tensor:
        row = self.start(asked)
        while not row.is_done:
            self.run_pass([row], JoinCache())
        return row.latents

    def together(self, requests: Sequence[ImageRequest], by_table: bool) -> list[tuple[torch.Tensor, float]]:
        """The latents of each, and the largest on its way. One more joins at each pass while there are fewer than eight."""
        waiting, rows, joined = deque(requests), list[Row](), list[Row]()
        largest: dict[Row, float] = {}
        cache = JoinCache()
        while waiting or rows:
            if waiting and len(rows) < 8:
                rows.append(self.start(waiting.popleft(), by_table=by_table))
                joined.append(rows[-1])
            for row in rows:
                largest[row] = max(largest.get(row, 0.0), float(row.latents.abs().max()))
            self.run_pass(fit_tokens([row for row in rows if key_of(row) == key_of(rows[0])]), cache)
            rows = [row for row in sorted(rows, key=lambda row: row.position) if not row.is_done]
        return [(row.latents, largest[row]) for row in joined]


@contextmanager
def engine_of(models: ModelLoader, model: str) -> Iterator[Engine]:
    with models.use(model, TEXT_TO_IMAGE) as lease:
        controlnets = ControlNets(models, lambda fraction, text: None)
        yield Engine(lease, controlnets)
        controlnets.release()


@torch.no_grad()
def by_diffusers(engine: Engine, asked: ImageRequest) -> torch.Tensor:
    spec, lease = asked.spec, engine.lease
    networks = [engine.controlnets.take(use.model_id).pipeline for use in spec.control]
    options = {"controlnet": networks[0] if len(networks) == 1 else MultiControlNetModel(networks)} if networks else {}
    pipeline = PIPELINES[spec.task].from_pipe(lease.pipeline, **options)
    pipeline.register_modules(scheduler=make_scheduler(spec.scheduler, lease.pipeline.scheduler, lease.entry.family))
    pipeline.set_progress_bar_config(disable=True)
    arguments = arguments_of_call(pipeline, spec) | rescale_of_call(pipeline, lease.entry)
    maps = [control_map(asked, number) for number in range(len(networks))]
    single = len(networks) == 1
    if networks:
        for name, values in (
            ("controlnet_conditioning_scale", [use.weight for use in spec.control]),
            ("control_guidance_start", [use.start for use in spec.control]),
            ("control_guidance_end", [use.end for use in spec.control]),
        ):
            arguments[name] = values[0] if single else values
    name_of_map = "control_image" if isinstance(spec, Img2ImgSpec) else "image"
    if maps:
        arguments[name_of_map] = maps[0] if single else maps
    return latents_of_call(pipeline, asked, arguments)


@pytest.mark.models
@pytest.mark.parametrize(("model", "task"), CASES, ids=lambda value: str(value))
def test_a_controlled_picture_alone_is_exactly_diffusers_own_with_every_scheduler(
    models: ModelLoader, model: str, task: str
) -> None:
    with engine_of(models, model) as engine:
        for scheduler in (None, *PLAIN_NAMES) if task == "txt2img" and model in ("sd1", "sdxl") else (None, *FEW_NAMES):
            asked = controlled(model, [(0, {"weight": 0.7})], steps=5, scheduler=scheduler, **TASKS[task])
            assert torch.equal(engine.alone(asked), by_diffusers(engine, asked)), scheduler


@pytest.mark.models
@pytest.mark.parametrize("guidance_scale", [1.0, 7.3])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_several_controls_with_weights_and_windows_are_exactly_diffusers_own(
    models: ModelLoader, model: str, guidance_scale: float
) -> None:
    uses = [(0, {"weight": 0.7, "start": 0.2}), (1, {"weight": 1.3, "end": 0.6}), (0, {"weight": 0.4})]
    with engine_of(models, model) as engine:
        asked = controlled(model, uses, steps=6, guidance_scale=guidance_scale)
        assert torch.equal(engine.alone(asked), by_diffusers(engine, asked))


@pytest.mark.models
@pytest.mark.parametrize("by_table", [False, True], ids=["scheduler objects", "coefficient tables"])
@pytest.mark.parametrize("model", ["sd1", "sdxl", "starter"])
def test_beside_rows_without_control_each_picture_is_the_same_but_for_rounding(
    models: ModelLoader, model: str, by_table: bool
) -> None:
    """Up to eight at once: with no control, one and two, in all tasks, weights, windows and schedulers."""
    kinds: list[list[tuple[int, dict[str, Any]]]] = [
        [],
        [(0, {})],
        [(1, {"weight": 0.5, "start": 0.3})],
        [(1, {"end": 0.5}), (0, {"weight": 1.4})],
    ]
    mixed = [controlled(model, kinds[number % len(kinds)], **fields) for number, fields in enumerate(mixed_fields())]
    with engine_of(models, model) as engine:
        for asked, (latents, largest) in zip(mixed, engine.together(mixed, by_table), strict=True):
            difference = (latents - by_diffusers(engine, asked)).abs().max()
            assert difference <= 1e-5 * largest, (asked.spec.scheduler, asked.spec.control)


@pytest.mark.models
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_a_second_pass_is_controlled_as_img2img_of_the_enlarged_picture_is(models: ModelLoader, model: str) -> None:
    asked: dict[str, Any] = {"steps": 4, "seeds": (7,)}
    [[small]] = generate(models, [controlled(model, [(0, {})], **asked)], Recorder())  # type: ignore[misc]
    enlarged = small.resize((128, 128), Image.Resampling.LANCZOS)
    second = {**asked, "steps": 5, "image": enlarged, "strength": 0.5, "width": 128, "height": 128}
    hires = HiresUse(scale=2, steps=5, strength=0.5, upscaler="lanczos")
    requests = [controlled(model, [(0, {})], **fields) for fields in (second, {**asked, "hires": hires})]
    requests.append(request(model_id=model, **second))
    [expected], [made], [free] = (generate(models, [one], Recorder())[0] for one in requests)  # type: ignore[misc]
    assert made.tobytes() == expected.tobytes() != free.tobytes()


@pytest.mark.parametrize(
    "fields",
    [{"outpaint": Outpaint(right=32, top=16)}, {"inpaint_area": "mask", "mask_padding": 4}],
    ids=["outpaint", "around the mask"],
)
def test_a_control_map_is_cut_as_the_picture_is(fields: dict[str, Any]) -> None:
    """Drawn over all of the picture that is made, it lies on what the model sees of that picture."""
    picture, mask = map_of(1, 96), Image.new("L", (96, 96), 0)
    mask.paste(255, (60, 50, 90, 70))
    grown = Outpaint() if "outpaint" not in fields else fields["outpaint"]
    canvas = Image.new("RGB", (96 + grown.right, 96 + grown.top), "black")
    canvas.paste(picture, (0, grown.top))
    asked = controlled("sd1", [(0, {})], image=picture, mask=mask, **fields)
    asked = dataclasses.replace(asked, controls=(canvas,))
    seen, source = (np.asarray(one, np.int16) for one in (control_map(asked, 0), source_image(asked)))
    box = asked.frame.inner
    kept = np.zeros(seen.shape[:2], bool)
    kept[box[1] + 12 : box[3] - 4, box[0] + 4 : box[2] - 24] = True  # away from what is grown
    assert kept.sum() > 200
    assert np.array_equal(seen[kept], source[kept])


@pytest.mark.parametrize("grown", [{"right": 32}, {"left": 48, "top": 16}, {"left": 48, "right": 48, "top": 48, "bottom": 48}])
def test_a_control_picture_in_the_size_of_the_source_grows_with_it(grown: dict[str, int]) -> None:
    picture = map_of(1, 96)
    asked = controlled("sd1", [(0, {})], image=picture, outpaint=Outpaint(**grown), width=192, height=192)
    asked = dataclasses.replace(asked, controls=(picture,))
    assert np.array_equal(np.asarray(control_map(asked, 0)), np.asarray(asked.frame.show_beside(asked.frame.canvas)))
    assert notes_on_controls(asked) == []


def test_a_controlnet_stays_in_memory_only_as_pinned_as_it_is_needed(models: ModelLoader) -> None:
    """In one call pictures with and without control share passes; afterwards nothing holds the ControlNet."""
    requests = [controlled("sd1", [(0, {})], prompt="a lake"), controlled("sd1", [], prompt="a lake")]
    steered, plain = (generate(models, [asked], Recorder())[0] for asked in requests)
    engine = ImageEngine(models, "sd1")
    made: dict[int, Image.Image] = {}
    for number, asked in enumerate(requests):
        engine.add(Task(asked, Hooks(), lambda _, picture, number=number: made.update({number: picture})))
    while engine.tasks:
        engine.step()
        pinned = {model["id"] for model in models.loaded() if model["pinned"]}
        assert pinned == ({"sd1", "sd1-control-0"} if engine.tasks else {"sd1"})
    engine.release()
    assert not any(model["pinned"] for model in models.loaded())
    assert psnr(made[0], steered[0]) > 40
    assert psnr(made[1], plain[0]) > 40
    assert psnr(made[0], made[1]) < 40


@pytest.mark.models
def test_a_session_that_lets_go_between_two_steps_goes_on_where_it_was(models: ModelLoader) -> None:
    asked = controlled("sd1", [(0, {})], steps=4)
    [[expected]] = [generate(models, [asked], Recorder())]
    engine, made = ImageEngine(models, "sd1"), list[Image.Image]()
    engine.add(Task(asked, Hooks(), lambda _, picture: made.append(picture)))
    while engine.tasks:
        engine.step()
        engine.release()
        models.unload("sd1-control-0")
    assert psnr(made[0], expected) > 40
