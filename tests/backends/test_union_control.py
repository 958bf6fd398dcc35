"""ControlNet Union for SDXL, one network for several kinds of maps: against diffusers' own pipeline, in fp32, and from a single file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetUnionModel,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from diffusers.models.controlnets.multicontrolnet_union import MultiControlNetUnionModel

from api.catalog import Catalog, ModelEntry
from api.catalog.control_kinds import UNION_TYPES
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.control_inputs import control_map
from api.images.backends.request import ImageRequest
from api.images.backends.schedulers import make_scheduler
from api.images.spec import Img2ImgSpec
from api.library.scan import scan_library
from api.loading import controlnets
from api.loading.controlnets import build_controlnet
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.backends.recorder import request
from tests.backends.test_control_equality import Engine, engine_of, map_of
from tests.backends.test_engine_equality import FEW_NAMES, TASKS, arguments_of_call, latents_of_call
from tests.library.conftest import library
from tests.loading import originals
from tests.models.tiny import build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control, build_tiny_union

__all__ = ["library"]
DEVICE = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
Use = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    folder = tmp_path_factory.mktemp("checkpoints")
    model = build_tiny_sdxl(folder / "sdxl")
    paths = {"union": build_tiny_union(folder / "union", model), "plain": build_tiny_control(folder / "plain", model)}
    entries = {"sdxl": ModelEntry(id="sdxl", name="sdxl", family="sdxl", path=model, max_batch=8)} | {
        name: ModelEntry(id=name, name=name, task="controlnet", family="sdxl", path=path) for name, path in paths.items()
    }
    return ModelLoader(Catalog(models=entries, adapters={}), ModelStore(tmp_path_factory.mktemp("store")), DEVICE)


def controlled(uses: Sequence[Use], **fields: Any) -> ImageRequest:
    control = tuple({"image": "c", "model_id": name, **use} for name, use in uses)
    return request(model_id="sdxl", control=control, controls=[map_of(number) for number in range(len(uses))], **fields)


@torch.no_grad()
def by_diffusers(engine: Engine, asked: ImageRequest) -> torch.Tensor:
    """One map, or several of which each has a network of its own: all of them the same one here."""
    spec, lease = asked.spec, engine.lease
    networks = [engine.controlnets.take(use.model_id).pipeline for use in spec.control]
    is_source = isinstance(spec, Img2ImgSpec)
    kind: Any = StableDiffusionXLControlNetUnionImg2ImgPipeline if is_source else StableDiffusionXLControlNetUnionPipeline
    steered = networks[0] if len(networks) == 1 else MultiControlNetUnionModel(networks)
    pipeline = kind.from_pipe(lease.pipeline, controlnet=steered)
    pipeline.register_modules(scheduler=make_scheduler(spec.scheduler, lease.pipeline.scheduler, lease.entry.family))
    pipeline.set_progress_bar_config(disable=True)
    values: dict[str, list[Any]] = {
        "control_image": [control_map(asked, number) for number in range(len(networks))],
        "control_mode": [UNION_TYPES[str(use.kind)] for use in spec.control],
        "controlnet_conditioning_scale": [use.weight for use in spec.control],
        "control_guidance_start": [use.start for use in spec.control],
        "control_guidance_end": [use.end for use in spec.control],
    }
    arguments = {name: found[0] if len(networks) == 1 else found for name, found in values.items()}
    return latents_of_call(pipeline, asked, {**arguments_of_call(pipeline, spec), **arguments})


@pytest.mark.models
@pytest.mark.parametrize("task", ["txt2img", "img2img"])
def test_a_picture_alone_is_exactly_diffusers_own(models: ModelLoader, task: str) -> None:
    with engine_of(models, "sdxl") as engine:
        for scheduler in (None, *FEW_NAMES):
            asked = controlled([("union", {"kind": "depth", "weight": 0.7})], steps=4, scheduler=scheduler, **TASKS[task])
            assert torch.equal(engine.alone(asked), by_diffusers(engine, asked)), scheduler
        kinds = [engine.alone(controlled([("union", {"kind": kind})], steps=2)) for kind in ("pose", "depth", "canny", "lines")]
        assert len({one.numpy().tobytes() for one in kinds}) == 3  # canny and lines are one type


@pytest.mark.models
def test_several_maps_are_those_of_as_many_networks(models: ModelLoader) -> None:
    uses: list[Use] = [("union", {"kind": "pose", "weight": 0.7, "start": 0.3}), ("union", {"kind": "tile", "end": 0.6})]
    with engine_of(models, "sdxl") as engine:
        asked = controlled(uses, steps=4, guidance_scale=7.3)
        assert torch.equal(engine.alone(asked), by_diffusers(engine, asked))


@pytest.mark.models
def test_beside_other_rows_each_picture_is_the_same_but_for_rounding(models: ModelLoader) -> None:
    uses: list[list[Use]] = [
        [("union", {"kind": "pose"})],
        [],
        [("union", {"kind": "canny", "weight": 0.5})],
        [("plain", {}), ("union", {"kind": "pose"})],
        [("union", {"preprocessor": "canny"})],
    ]
    asked = [controlled(one, steps=4, seed=number) for number, one in enumerate(uses)]
    with engine_of(models, "sdxl") as engine:
        for one, (latents, largest) in zip(asked, engine.together(asked, False), strict=True):
            assert (latents - engine.alone(one)).abs().max() <= 1e-5 * largest


@pytest.mark.models
@pytest.mark.parametrize("use", [{}, {"kind": "grey"}])
def test_a_kind_that_it_does_not_read_is_a_400_that_names_the_field(models: ModelLoader, use: dict[str, Any]) -> None:
    with (
        engine_of(models, "sdxl") as engine,
        pytest.raises(DarkroomError, match="by `kind` which one this is: pose, depth") as caught,
    ):
        engine.start(controlled([("union", use)], steps=2))
    assert (caught.value.code, caught.value.status, caught.value.field) == ("control_kind", 400, "control.0.kind")


@pytest.mark.models
@pytest.mark.parametrize("types", [6, 8])
def test_one_file_of_the_library_needs_no_configuration(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: int
) -> None:
    model = build_tiny_sdxl(tmp_path / "sdxl")
    folder = build_tiny_union(tmp_path / "union", model, types=types)
    shutil.copytree(model / "unet", tmp_path / "families" / "sdxl" / "unet")
    monkeypatch.setattr(controlnets, "FAMILIES", tmp_path / "families")
    [weights] = folder.glob("*.safetensors")
    tensors = originals.load_file(weights)
    file = originals.write(library / "any name.safetensors", tensors)
    scan_library()
    entry = get_catalog().get("any name")
    assert (entry.task, entry.family) == ("controlnet", "sdxl")
    assert ("tile" in entry.control, "pose" in entry.control, "grey" in entry.control) == (types == 8, True, False)
    built, loaded = build_controlnet(entry, file, DEVICE), ControlNetUnionModel.from_pretrained(folder)
    assert type(built) is ControlNetUnionModel
    assert all(torch.equal(tensor, built.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    config = {**json.loads((folder / "config.json").read_text()), "num_control_type": 14 - types}
    (folder / "config.json").write_text(json.dumps(config))  # as where two releases lie in one folder
    beside = build_controlnet(ModelEntry(id="mine", name="Mine", task="controlnet", path=weights), weights, DEVICE)
    assert beside.config.num_control_type == types
    assert built.config.num_control_type == types
    del tensors["spatial_ch_projs.bias"]
    with pytest.raises(DarkroomError, match=r"spatial_ch_projs\.bias"):
        build_controlnet(entry, originals.write(file, tensors), DEVICE)
