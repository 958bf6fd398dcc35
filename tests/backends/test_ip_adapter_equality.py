"""IP-Adapters in the engine's loop against diffusers' own pipelines, in fp32: every form, scheduler, family and task."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from api.catalog import AdapterEntry, Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.control_inputs import control_map
from api.images.backends.engine import graph_cache as graphs
from api.images.backends.engine.control import ControlNets, make_controls
from api.images.backends.engine.engine import Engine as ImageEngine
from api.images.backends.engine.image_prompts import make_image_prompts
from api.images.backends.engine.new_rows import make_row
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.backends.frames import flatten
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.backends.schedulers import make_scheduler
from api.images.hires import HiresUse
from api.images.spec import TEXT_TO_IMAGE, Img2ImgSpec
from api.loading.model_leases import DenoiserOptions
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.backends.recorder import Recorder, psnr, request
from tests.backends.recording import FakeCuda, Recording
from tests.backends.test_control_equality import PIPELINES, map_of
from tests.backends.test_control_equality import Engine as ControlEngine
from tests.backends.test_engine_equality import (
    FEW_NAMES,
    PLAIN_NAMES,
    TASKS,
    Hooks,
    arguments_of_call,
    latents_of_call,
    mixed_fields,
)
from tests.models.tiny import build_tiny_lora, build_tiny_sd, build_tiny_sd2, build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control
from tests.models.tiny_ip_adapter import FORMS, build_tiny_image_encoder, build_tiny_ip_adapter

MODELS = {"sd1": build_tiny_sd, "sd2": build_tiny_sd2, "sdxl": build_tiny_sdxl}
CASES = [*itertools.product(("sd1", "sdxl"), TASKS), ("sd2", "txt2img")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    """Three adapters for each model: `sd1-base` …, and one image encoder for all."""
    folder = tmp_path_factory.mktemp("checkpoints")
    entries = {
        name: ModelEntry(id=name, name=name, family=name, path=build(folder / name), max_batch=8)
        for name, build in MODELS.items()
    }
    made = {"encoder": ("image-encoder", "clip", build_tiny_image_encoder(folder / "encoder"))}
    for name, form in itertools.product(MODELS, FORMS):
        file = build_tiny_ip_adapter(folder / f"{name}-{form}.safetensors", folder / name, form)
        made[f"{name}-{form}"] = ("ip-adapter", name, file)
    made["sd1-control-0"] = ("controlnet", "sd1", build_tiny_control(folder / "sd1-control-0", folder / "sd1"))
    features = {"encoder": ("embeds-24", "states-48")}
    for name, (task, family, path) in made.items():
        entries[name] = ModelEntry(
            id=name,
            name=name,
            task=task,
            family=family,
            path=path,
            single_file=path.is_file(),
            features=features.get(name, ()),
            image_encoder="encoder" if task == "ip-adapter" else "",
        )
    entries["lanczos"] = get_catalog().get("lanczos")
    lora = build_tiny_lora(folder / "lora", folder / "sd1")
    adapters = {"style": AdapterEntry(id="style", name="Style", family="sd1", path=lora)}
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(Catalog(models=entries, adapters=adapters), ModelStore(Path(tmp_path_factory.mktemp("store"))), device)


def photo(seed: int, width: int = 50, height: int = 40) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def prompted(model: str, uses: Sequence[tuple[str, float]], **fields: Any) -> ImageRequest:
    """`uses`: a form and a weight each."""
    said = tuple({"image": "p", "model_id": f"{model}-{form}", "weight": weight} for form, weight in uses)
    pictures = [photo(number) for number in range(len(uses))]
    return request(model_id=model, ip_adapter=said, image_prompts=pictures, **fields)


@dataclass
class Engine(ControlEngine):
    models: ModelLoader

    def start(self, asked: ImageRequest, *, by_table: bool = False) -> Row:
        task = Task(asked, Hooks(), lambda number, picture: None)
        prompts = make_image_prompts(self.models, self.lease, task, lambda fraction, text: None)
        controls = make_controls(self.lease, task, self.controlnets)
        return make_row(self.lease, task, 0, by_table=by_table, controls=controls, image_prompts=prompts)


@contextmanager
def engine_of(models: ModelLoader, model: str) -> Iterator[Engine]:
    with models.use(model, TEXT_TO_IMAGE) as lease:
        controlnets = ControlNets(models, lambda fraction, text: None)
        yield Engine(lease, controlnets, models)
        controlnets.release()


def state_dict_of(models: ModelLoader, model_id: str) -> dict[str, dict[str, torch.Tensor]]:
    path = models.catalog.get(model_id).path
    assert path
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(path).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return parts


@torch.no_grad()
def by_diffusers(engine: Engine, asked: ImageRequest) -> torch.Tensor:
    """By its own `load_ip_adapter`, on a copy of the UNet, and its own call."""
    spec, lease = asked.spec, engine.lease
    unet = UNet2DConditionModel.from_config(lease.pipeline.unet.config)
    unet.load_state_dict(lease.pipeline.unet.state_dict())
    unet.to(memory_format=torch.channels_last)
    networks: list[ControlNetModel] = [engine.controlnets.take(use.model_id).pipeline for use in spec.control]
    options = {"controlnet": networks[0]} if networks else {}
    pipeline = PIPELINES[spec.task].from_pipe(lease.pipeline, **options)
    pipeline.register_modules(unet=unet)
    pipeline.register_modules(scheduler=make_scheduler(spec.scheduler, lease.pipeline.scheduler, lease.entry.family))
    pipeline.set_progress_bar_config(disable=True)
    with engine.models.use("encoder", "image-encoder") as encoder:
        pipeline.register_modules(image_encoder=encoder.pipeline.network, feature_extractor=encoder.pipeline.processor)
        arguments = arguments_of_call(pipeline, spec)
        if spec.ip_adapter:
            weights = [state_dict_of(engine.models, use.model_id) for use in spec.ip_adapter]
            names = [""] * len(weights)
            pipeline.load_ip_adapter(weights, subfolder=names, weight_name=names, image_encoder_folder=None)
            pipeline.set_ip_adapter_scale([use.weight for use in spec.ip_adapter])
            arguments["ip_adapter_image"] = [flatten(picture) for picture in asked.image_prompts]
        if networks:
            name = "control_image" if isinstance(spec, Img2ImgSpec) else "image"
            arguments |= {name: control_map(asked, 0), "controlnet_conditioning_scale": spec.control[0].weight}
        return latents_of_call(pipeline, asked, arguments)


@pytest.mark.models
@pytest.mark.parametrize(("model", "task"), CASES, ids=lambda value: str(value))
def test_a_picture_alone_is_exactly_diffusers_own_with_every_scheduler(models: ModelLoader, model: str, task: str) -> None:
    with engine_of(models, model) as engine:
        for scheduler in (None, *PLAIN_NAMES) if task == "txt2img" and model in ("sd1", "sdxl") else (None, *FEW_NAMES):
            asked = prompted(model, [("base", 0.7)], steps=5, scheduler=scheduler, **TASKS[task])
            assert torch.equal(engine.alone(asked), by_diffusers(engine, asked)), scheduler


@pytest.mark.models
@pytest.mark.parametrize("guidance_scale", [1.0, 7.3])
@pytest.mark.parametrize(
    "uses", [[("plus", 0.6)], [("full", 1.2)], [("plus", 0.7), ("base", 0.4), ("full", 0.3), ("base", 1.5)]]
)
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_each_form_and_several_at_once_are_exactly_diffusers_own(
    models: ModelLoader, model: str, uses: list[tuple[str, float]], guidance_scale: float
) -> None:
    with engine_of(models, model) as engine:
        asked = prompted(model, uses, steps=3, guidance_scale=guidance_scale)
        made = engine.alone(asked)
        assert torch.equal(made, by_diffusers(engine, asked))
        assert not torch.equal(made, engine.alone(prompted(model, [], steps=3, guidance_scale=guidance_scale)))


@pytest.mark.models
def test_beside_a_control_map_it_is_exactly_diffusers_own(models: ModelLoader) -> None:
    control = {"image": "c", "model_id": "sd1-control-0", "weight": 0.7}
    with engine_of(models, "sd1") as engine:
        for task in ("txt2img", "img2img", "inpainting"):
            asked = prompted("sd1", [("plus", 0.8)], steps=4, control=(control,), controls=[map_of(0)], **TASKS[task])
            assert torch.equal(engine.alone(asked), by_diffusers(engine, asked)), task


@pytest.mark.models
@pytest.mark.parametrize("by_table", [False, True], ids=["scheduler objects", "coefficient tables"])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_beside_rows_without_image_prompts_each_picture_is_the_same_but_for_rounding(
    models: ModelLoader, model: str, by_table: bool
) -> None:
    """Up to eight at once: with none, one and two, of all forms, in all tasks, guidances and schedulers."""
    kinds: list[list[tuple[str, float]]] = [
        [],
        [("base", 0.8)],
        [("full", 0.5)],
        [("plus", 1.4), ("base", 0.6)],
        [("base", 0.3), ("full", 0.9)],
    ]
    mixed = [prompted(model, kinds[number % len(kinds)], **fields) for number, fields in enumerate(mixed_fields())]
    with engine_of(models, model) as engine:
        for asked, (latents, largest) in zip(mixed, engine.together(mixed, by_table), strict=True):
            difference = (latents - by_diffusers(engine, asked)).abs().max()
            assert difference <= 1e-5 * largest, (asked.spec.scheduler, asked.spec.ip_adapter)


@pytest.mark.models
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_a_second_pass_is_prompted_as_img2img_of_the_enlarged_picture_is(models: ModelLoader, model: str) -> None:
    asked: dict[str, Any] = {"steps": 4, "seeds": (7,)}
    uses = [("plus", 0.8)]
    [[small]] = generate(models, [prompted(model, uses, **asked)], Recorder())  # type: ignore[misc]
    enlarged = small.resize((128, 128), Image.Resampling.LANCZOS)
    second = {**asked, "steps": 5, "image": enlarged, "strength": 0.5, "width": 128, "height": 128}
    hires = HiresUse(scale=2, steps=5, strength=0.5, upscaler="lanczos")
    requests = [prompted(model, uses, **second), prompted(model, uses, **asked, hires=hires), prompted(model, [], **second)]
    [expected], [made], [free] = (generate(models, [one], Recorder())[0] for one in requests)  # type: ignore[misc]
    assert made.tobytes() == expected.tobytes() != free.tobytes()


@pytest.mark.models
def test_with_a_lora_both_act_and_afterwards_the_model_is_as_it_was(models: ModelLoader) -> None:
    style = (("style", 0.8),)
    free = prompted("sd1", [], steps=3)
    [[before]] = generate(models, [free], Recorder())  # type: ignore[misc]
    asked = [prompted("sd1", uses, loras=loras, steps=3) for loras in ((), style) for uses in ([], [("base", 0.9)])]
    made = [generate(models, [one], Recorder())[0][0] for one in asked]  # type: ignore[index]
    assert len({picture.tobytes() for picture in made}) == 4
    [[after]] = generate(models, [free], Recorder())  # type: ignore[misc]
    assert after.tobytes() == before.tobytes() == made[0].tobytes()


@pytest.mark.models
def test_neither_the_adapter_nor_its_encoder_is_pinned_once_the_rows_have_begun(models: ModelLoader) -> None:
    engine, made = ImageEngine(models, "sd1"), list[Image.Image]()
    asked = prompted("sd1", [("base", 0.9)], steps=4, seeds=(1, 2))
    expected = generate(models, [asked], Recorder())[0]
    engine.add(Task(asked, Hooks(), lambda _, picture: made.append(picture)))
    while engine.tasks:
        engine.step()
        assert {model["id"] for model in models.loaded() if model["pinned"]} == {"sd1"}
        engine.release()
        models.unload("sd1-base")
        models.unload("encoder")
    assert not isinstance(expected, DarkroomError)
    assert all(psnr(one, other) > 40 for one, other in zip(made, expected, strict=True))


@pytest.mark.models
def test_a_graph_holds_what_image_prompts_add(models: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording()
    monkeypatch.setattr(graphs, "CudaCapture", lambda device: recording)
    cuda = FakeCuda("cuda", 0, "a chip", torch.float32, channels_last=True, memory_total=2**33)
    asked = prompted("sd1", [("plus", 0.8), ("base", 0.4)], steps=5, seeds=(1, 2, 3))
    loaders = ModelLoader(models.catalog, models.store, cuda, denoiser_options=DenoiserOptions()), models
    [with_graphs], [without] = (generate(one, [asked], Recorder()) for one in loaders)
    assert not isinstance(with_graphs, DarkroomError)
    assert not isinstance(without, DarkroomError)
    assert all(psnr(one, other) > 50 for one, other in zip(with_graphs, without, strict=True))
    assert (recording.records, recording.replays) == (1, 4)


@pytest.mark.models
def test_compiled_blocks_are_not_compiled_again_for_each_layer(models: ModelLoader) -> None:
    compiled: list[object] = []

    def backend(module: Any, inputs: object) -> Any:
        compiled.append(module)
        return module.forward

    with engine_of(models, "sd1") as engine:
        asked = [prompted("sd1", uses, steps=2) for uses in ([], [("base", 0.7)])]
        wanted = [engine.alone(one) for one in asked]
        blocks = [module for module in engine.lease.pipeline.unet.modules() if type(module).__name__ == "BasicTransformerBlock"]
        for block in blocks:
            block.compile(backend=backend)
        try:
            made = [engine.alone(one) for one in asked]
        finally:
            for block in blocks:
                block._compiled_call_impl = None
    assert 0 < len(compiled) < len(blocks)
    assert all((one - other).abs().max() <= 1e-5 * other.abs().max() for one, other in zip(made, wanted, strict=True))


@pytest.mark.models
def test_an_adapter_of_other_sizes_is_refused_and_both_are_named(models: ModelLoader) -> None:
    said = ({"image": "p", "model_id": "sdxl-base"},)
    asked = request(model_id="sd1", ip_adapter=said, image_prompts=[photo(0)])
    with pytest.raises(DarkroomError, match="sdxl-base is an IP-Adapter for networks of other sizes than sd1") as caught:
        generate(models, [asked], Recorder())
    assert (caught.value.code, caught.value.field) == ("ip_adapter_mismatch", "ip_adapter.0.model_id")
