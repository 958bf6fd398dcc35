"""ControlNets among the files of the library."""

from pathlib import Path

import pytest

from api.catalog import UnknownModel
from api.catalog.control_kinds import kinds_by_name
from api.library.models import Kind, LibraryFile
from api.library.scan import scan_library
from config.catalog import get_catalog
from tests.library.files import row_of, write_bytes, write_checkpoint, write_file
from tests.model_files.files import Shape


def original_keys(width: int = 768) -> dict[str, Shape]:
    return {
        "control_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, width),
        "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
    }


def diffusers_keys(width: int = 768) -> dict[str, Shape]:
    return {
        "conv_in.weight": (320, 4, 3, 3),
        "time_embedding.linear_1.weight": (1280, 320),
        "down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, width),
        "controlnet_down_blocks.0.weight": (320, 320, 1, 1),
        "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    }


XLABS: dict[str, Shape] = {
    "controlnet_blocks.0.weight": (3072, 3072),
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
}


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
def test_its_header_tells_its_family_in_both_ways_of_naming(library: Path, width: int, family: str) -> None:
    write_file(library / "a.safetensors", original_keys(width))
    write_file(library / "b.safetensors", diffusers_keys(width))
    scan_library()
    for row in LibraryFile.objects.all():
        assert (row.kind, row.family, row.reason) == (Kind.CONTROLNET, family, "")


def test_it_is_named_as_a_model_is_and_chosen_by_what_its_name_says(library: Path) -> None:
    write_file(library / "ControlNet" / "control_v11p_sd15_canny.safetensors", original_keys())
    write_file(library / "ControlNet" / "control_v11f1p_sd15_depth.safetensors", diffusers_keys())
    write_checkpoint(library / "photo.safetensors")
    scan_library()
    catalog = get_catalog()
    photo = catalog.get("photo")
    entry = catalog.get("control_v11p_sd15_canny")
    assert (entry.task, entry.family, entry.control, entry.single_file) == ("controlnet", "sd1", ("canny",), True)
    assert [found.id for found in catalog.controlnets_for(photo, "canny")] == ["control_v11p_sd15_canny"]
    assert [found.id for found in catalog.controlnets_for(photo, "depth")] == ["control_v11f1p_sd15_depth"]
    assert catalog.controlnets_for(photo, "pose") == []


def test_a_checkpoint_comes_before_a_controlnet_of_the_same_name(library: Path) -> None:
    write_file(library / "ControlNet" / "tile.safetensors", original_keys())
    write_checkpoint(library / "photos" / "tile.safetensors")
    scan_library()
    assert get_catalog().get("tile.safetensors").task == "text-to-image"


def test_weights_that_diffusers_named_are_called_as_their_folder(library: Path) -> None:
    write_file(library / "sd-controlnet-canny" / "diffusion_pytorch_model.safetensors", diffusers_keys())
    write_file(library / "sd-controlnet-canny" / "diffusion_pytorch_model.fp16.safetensors", diffusers_keys())
    write_bytes(library / "sd-controlnet-canny" / "config.json", b'{"_class_name": "ControlNetModel"}')
    scan_library()
    assert get_catalog().get("sd-controlnet-canny").control == ("canny",)
    assert get_catalog().get("sd-controlnet-canny.fp16").family == "sd1"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"lora_controlnet": (1,), **original_keys()}, "Control-LoRA"),
        ({"adapter.body.0.block1.weight": (8, 8)}, "T2I-Adapter"),
        (XLABS, "XLabs"),
        ({"task_embedding": (6, 320), **diffusers_keys()}, "ControlNet Union"),
    ],
)
def test_what_steers_in_another_way_says_so(library: Path, keys: dict[str, Shape], said: str) -> None:
    write_file(library / "mine.safetensors", keys)
    scan_library()
    assert row_of("mine.safetensors").kind == Kind.CONTROLNET
    assert said in row_of("mine.safetensors").reason
    with pytest.raises(UnknownModel, match=said):
        get_catalog().get("mine")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("control_v11p_sd15_openpose", ("pose",)),
        ("control_v11p_sd15s2_lineart_anime", ("lineart",)),
        ("control-lora-canny-rank128", ("canny",)),
        ("t2i-adapter_xl_sketch", ("scribble",)),
        ("control_v11e_sd15_ip2p", ()),
        ("segment", ()),
        ("control_v11p_sd15_mlsd", ("lines",)),
        ("control_v11p_sd15_normalbae", ("normal",)),
    ],
)
def test_names_tell_what_a_controlnet_reads(name: str, kinds: tuple[str, ...]) -> None:
    assert kinds_by_name(name) == kinds
