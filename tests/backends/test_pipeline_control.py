"""ControlNets of SD 3 and FLUX, which run in diffusers' own pipelines: the same pictures as that one's call, in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DiffusionPipeline,
    FluxControlNetModel,
    FluxMultiControlNetModel,
    SD3ControlNetModel,
    SD3MultiControlNetModel,
    SD3Transformer2DModel,
)
from PIL import Image
from safetensors.torch import save_file

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.loading.controlnets import build_controlnet
from api.model_files.header import read_header
from api.model_files.identify import identify
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request
from tests.models.tiny import build_tiny_flux, build_tiny_sd3

DEVICE = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
SEVERAL = {"flux": FluxMultiControlNetModel, "sd3": SD3MultiControlNetModel}
FLUX_SIZES = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
}


def build_sd3(folder: Path) -> Path:
    """Of two blocks: nothing is added to the text's side of the last one."""
    build_tiny_sd3(folder)
    config = SD3Transformer2DModel.load_config(folder / "transformer")
    torch.manual_seed(0)
    SD3Transformer2DModel.from_config({**config, "num_layers": 2}).save_pretrained(folder / "transformer")
    return folder


MODELS = {"flux": build_tiny_flux, "sd3": build_sd3}


def make_control(folder: Path, family: str, seed: int, **sizes: Any) -> Path:
    """One that acts: where it joins the transformer, a fresh one is zero."""
    torch.manual_seed(seed)
    if family == "flux":
        heads = {"attention_head_dim": 16, "num_attention_heads": 2, "axes_dims_rope": (4, 4, 8)}
        network: Any = FluxControlNetModel(**{**FLUX_SIZES, **heads, **sizes})
    else:
        heads = {"attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": 64, "caption_projection_dim": 32}
        shapes = {"sample_size": 8, "patch_size": 1, "num_layers": 1, "pooled_projection_dim": 64}
        network = SD3ControlNetModel(**{**shapes, **heads, **sizes})
    for name, parameter in network.named_parameters():
        if name.startswith(("controlnet_blocks", "controlnet_single_blocks", "controlnet_x_embedder", "pos_embed_input")):
            torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    """For each family `family-0`, `family-1` and `family-narrow`, which doesn't fit; for FLUX `flux-union` too."""
    folder = tmp_path_factory.mktemp("checkpoints")
    entries = {
        name: ModelEntry(id=name, name=name, family=name, path=build(folder / name), max_batch=8)
        for name, build in MODELS.items()
    }
    others: dict[str, dict[str, Any]] = {"0": {}, "1": {}, "narrow": {"pooled_projection_dim": 48}, "union": {"num_mode": 3}}
    for family in MODELS:
        for seed, (name, sizes) in enumerate(others.items()):
            if name != "union" or family == "flux":
                path = make_control(folder / f"{family}-{name}", family, seed, **sizes)
                entries[path.name] = ModelEntry(id=path.name, name=path.name, task="controlnet", family=family, path=path)
    return ModelLoader(Catalog(models=entries, adapters={}), ModelStore(folder / "store"), DEVICE)


def map_of(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 2, (64, 64), np.uint8) * 255).convert("RGB")


def controlled(family: str, *uses: dict[str, Any], **fields: Any) -> ImageRequest:
    control = tuple({"image": "c", "model_id": f"{family}-0", **use} for use in uses)
    return request(
        model_id=family, control=control, controls=[map_of(n) for n in range(len(uses))], guidance_scale=3.0, steps=4, **fields
    )


def made(models: ModelLoader, asked: ImageRequest) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(picture) for picture in generate(models, [asked], Recorder())[0]]  # type: ignore[union-attr]


def of_diffusers(models: ModelLoader, asked: ImageRequest, **arguments: Any) -> np.ndarray[Any, Any]:
    """What that one's pipeline makes of the request's first seed, called as its documentation says."""
    family, spec = asked.spec.model_id, asked.spec
    several = len(spec.control) > 1
    nets = [(FluxControlNetModel if family == "flux" else SD3ControlNetModel).from_pretrained(
        models.catalog.get(use.model_id).path) for use in spec.control]  # fmt: skip
    plain = DiffusionPipeline.from_pretrained(models.catalog.get(family).path)
    auto = {"text-to-image": AutoPipelineForText2Image, "image-to-image": AutoPipelineForImage2Image}
    pipeline = auto.get(spec.task, AutoPipelineForInpainting).from_pipe(
        plain, controlnet=SEVERAL[family](nets) if several else nets[0]
    )
    pipeline.set_progress_bar_config(disable=True)
    values = {
        "control_image": asked.controls,
        "controlnet_conditioning_scale": [use.weight for use in spec.control],
        "control_guidance_start": [use.start for use in spec.control],
        "control_guidance_end": [use.end for use in spec.control],
    }
    if family == "sd3":
        arguments |= {"negative_prompt": " ", "max_sequence_length": 512}
    torch.manual_seed(spec.seeds[0])
    latents = pipeline(
        prompt=spec.prompt,
        width=64,
        height=64,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(spec.seeds[0]),
        **{name: value if several else value[0] for name, value in values.items()},
        **arguments,
    ).images[0]
    return np.asarray(latents)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("uses", [({"weight": 0.7},), ({"end": 0.5}, {"weight": 0.4, "start": 0.5})], ids=["one", "two"])
def test_a_picture_is_the_one_of_diffusers_and_not_the_plain_one(
    models: ModelLoader, family: str, uses: tuple[dict[str, Any], ...]
) -> None:
    uses = tuple({**use, "model_id": f"{family}-{number}"} for number, use in enumerate(uses))
    asked = controlled(family, *uses, seeds=(5,))
    [picture] = made(models, asked)
    modes = {"control_mode": [None] * len(uses)} if len(uses) > 1 and family == "flux" else {}
    assert np.abs(picture.astype(int) - of_diffusers(models, asked, **modes)).max() <= 1
    plain = request(model_id=family, seeds=(5,), guidance_scale=3.0, steps=4)
    assert not np.array_equal(picture, made(models, plain)[0])


@pytest.mark.parametrize("masked", [False, True])
def test_flux_s_maps_steer_pictures_from_pictures(models: ModelLoader, masked: bool) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 40, 64))
    extra = {"image": map_of(9).convert("RGB"), "strength": 0.75, **({"mask": mask} if masked else {})}
    steered, plain = (made(models, controlled("flux", {"weight": weight}, seeds=(5,), **extra))[0] for weight in (1, 0))
    assert not np.array_equal(steered, plain)
    if masked:
        assert np.array_equal(steered[:, 40:], np.asarray(extra["image"])[:, 40:])


@pytest.mark.parametrize("family", MODELS)
def test_a_picture_depends_on_its_seed_alone(models: ModelLoader, family: str) -> None:
    first, second = made(models, controlled(family, {}, seeds=(5, 6)))
    torch.rand(3)
    assert np.array_equal(second, made(models, controlled(family, {}, seeds=(6,)))[0])
    assert not np.array_equal(first, second)


def test_a_union_is_told_what_the_map_is_of(models: ModelLoader) -> None:
    union = {"model_id": "flux-union"}
    canny, tile = (made(models, controlled("flux", {**union, "kind": kind}))[0] for kind in ("canny", "tile"))
    assert not np.array_equal(canny, tile)
    with pytest.raises(DarkroomError, match="say by `kind` which one this is: canny, tile, depth") as caught:
        made(models, controlled("flux", {**union, "kind": "pose"}))
    assert (caught.value.code, caught.value.field) == ("control_kind", "control.0.kind")


@pytest.mark.parametrize("family", MODELS)
def test_networks_of_other_sizes_are_named(models: ModelLoader, family: str) -> None:
    with pytest.raises(DarkroomError, match="networks of other sizes") as caught:
        made(models, controlled(family, {"weight": 0}, {"model_id": f"{family}-narrow"}))
    assert caught.value.field == "control.1.model_id"


def test_a_lone_file_for_flux_tells_its_configuration_by_its_shapes(tmp_path: Path) -> None:
    sizes = {**FLUX_SIZES, "attention_head_dim": 128, "num_attention_heads": 1, "num_mode": 7, "guidance_embeds": True}
    torch.manual_seed(0)
    network = FluxControlNetModel(**sizes)
    file = tmp_path / "union.safetensors"
    save_file(network.state_dict(), file)
    found = identify(read_header(file), file.name)
    assert (found.kind, found.family, found.unusable) == ("controlnet", "flux", "")
    entry = ModelEntry(id="union", name="Union", task="controlnet", family="flux", path=file, single_file=True)
    built = build_controlnet(entry, file, DEVICE)
    assert {name: built.config[name] for name in sizes} == sizes
    assert all(torch.equal(tensor, built.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_a_lone_file_for_sd3_asks_for_its_configuration(tmp_path: Path) -> None:
    [weights] = make_control(tmp_path / "control", "sd3", 0).glob("*.safetensors")
    file = weights.rename(tmp_path / "mine.safetensors")
    entry = ModelEntry(id="mine", name="Mine", task="controlnet", family="sd3", path=file, single_file=True)
    with pytest.raises(DarkroomError, match=r"with the config\.json of its release beside it"):
        build_controlnet(entry, file, DEVICE)
