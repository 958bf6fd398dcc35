"""ControlNets: a folder as diffusers writes it, or one file, in diffusers' names or (of UNet families) the original release's.

[torch; no Django]
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, FluxControlNetModel, SD3ControlNetModel

from api.catalog import CONTROLNET, ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import broken_error, build_empty, read_json
from api.loading.device_memory import bytes_in_dtype
from api.loading.single_files.components import Place
from api.loading.single_files.configurations import FAMILIES
from api.loading.single_files.fitting import check_part
from api.loading.single_files.plan import FilePart
from api.loading.single_files.weights import load_part
from api.model_files.header import Header, HeaderError, TensorInfo, read_header
from api.model_files.identify import identify
from api.model_files.layouts import controlnet_prefix, union_types

CLASSES: dict[str, Any] = {
    known.__name__: known for known in (ControlNetModel, ControlNetUnionModel, SD3ControlNetModel, FluxControlNetModel)
}
"""By the name that a config.json has."""
CONFIG = "config.json"
PLAIN_WEIGHTS = "diffusion_pytorch_model.safetensors"
"""Comes before its variants, where a folder has several."""
HINTS = "controlnet_cond_embedding"
"""The layers of a ControlNet that read the map, in diffusers' names."""
FLUX_HEAD = 128
"""Width of an attention head of FLUX."""


def make_builder() -> Builder:
    return Builder(build=build_controlnet, estimate=estimate_bytes)


def build_controlnet(entry: ModelEntry, folder: Path, device: Device) -> Any:
    """A network of one of CLASSES, in the device's dtype. Its header is checked before weights are read. Raises DarkroomError."""
    file, config = _find(entry, folder)
    header = _read_header(entry, file)
    prefix, tensors = _named_tensors(header)
    place = Place(prefix, "original")
    if config["_class_name"] == ControlNetUnionModel.__name__ and union_types(tensors):
        config |= _config_of_union(tensors)  # several releases lie beside one config.json, with other numbers of types
    class_ = CLASSES[config["_class_name"]]
    network = build_empty(entry, CONTROLNET, class_, config)
    if network.config.get("global_pool_conditions"):
        raise broken_error(entry, "ControlNets with pooled maps (shuffle) are not run here")
    if network.config.get("extra_conditioning_channels"):
        raise broken_error(entry, "ControlNets that also read a mask are not run here")
    check_part(entry, file.name, CONTROLNET, place, tensors, network, config)
    loaded = load_part(entry, FilePart(CONTROLNET, file, place, tensors, class_, config, header), network, device.dtype)
    return loaded.to(memory_format=torch.channels_last) if device.channels_last else loaded


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    file, _ = _find(entry, folder)
    return bytes_in_dtype(_named_tensors(_read_header(entry, file))[1].values(), device.dtype)


def _find(entry: ModelEntry, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file of its weights, and its configuration: what lies beside it, or else the family's."""
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"), key=lambda file: (file.name != PLAIN_WEIGHTS, file.name))
        if not files:
            raise broken_error(entry, "its folder has no weights in safetensors form")
        return files[0], _check_class(entry, read_json(folder / CONFIG))
    if folder.stem.startswith("diffusion_pytorch_model") and (folder.parent / CONFIG).is_file():
        return folder, _check_class(entry, read_json(folder.parent / CONFIG))
    return folder, _config_of_family(entry, folder)


def _check_class(entry: ModelEntry, config: dict[str, Any]) -> dict[str, Any]:
    if config.get("_class_name") not in CLASSES:
        wanted = " or ".join(CLASSES)
        raise broken_error(entry, f"its config.json is of {config.get('_class_name') or 'no class'}, and {wanted} is wanted")
    return config


def _config_of_family(entry: ModelEntry, file: Path) -> dict[str, Any]:
    """A ControlNet of a UNet family repeats that one's way down, so it has its numbers; FLUX's tell theirs by their shapes."""
    header = _read_header(entry, file)
    family = identify(header, file.name).family or entry.family
    if family == "flux":
        return {"_class_name": FluxControlNetModel.__name__, **_config_of_flux(entry, header.tensors)}
    if family == "sd3":
        raise broken_error(entry, "a ControlNet for SD 3 is loaded with the config.json of its release beside it")
    unet = read_json(FAMILIES / family / "unet" / CONFIG)
    if not unet:
        raise broken_error(entry, f"ControlNets of the family {family or 'unknown'} are not loaded from one file")
    own = _config_of_union(header.tensors) if union_types(header.tensors) else {}
    class_ = ControlNetUnionModel if own else ControlNetModel
    known = inspect.signature(class_.__init__).parameters
    return {"_class_name": class_.__name__, **{name: value for name, value in unet.items() if name in known}, **own}


def _config_of_union(tensors: dict[str, TensorInfo]) -> dict[str, Any]:
    """What tells kinds of maps apart, beside what every ControlNet of the family has."""
    types, width = tensors["task_embedding"].shape
    numbers = sorted({int(name.split(".")[2]) for name in tensors if name.startswith(f"{HINTS}.blocks.")})
    places = [f"blocks.{number}" for number in numbers if number % 2]  # of each two, the second one makes the picture smaller
    return {
        "num_control_type": types,
        "num_trans_channel": width,
        "num_trans_layer": len({name.split(".")[1] for name in tensors if name.startswith("transformer_layes.")}),
        "num_proj_channel": _rows(tensors, "spatial_ch_projs.weight"),
        "conditioning_embedding_out_channels": tuple(_rows(tensors, f"{HINTS}.{name}.weight") for name in ("conv_in", *places)),
    }


def _rows(tensors: dict[str, TensorInfo], name: str) -> int:
    """0 where there is no such tensor: the network that is made so names what is missing."""
    return tensors[name].shape[0] if name in tensors and tensors[name].shape else 0


def _config_of_flux(entry: ModelEntry, tensors: dict[str, TensorInfo]) -> dict[str, Any]:
    """Of FluxControlNetModel, whose heads are 128 wide in every release."""

    def size(name: str, axis: int) -> int | None:
        return tensors[name].shape[axis] if name in tensors else None

    def blocks(prefix: str) -> int:
        return len({name.split(".")[1] for name in tensors if name.startswith(prefix)})

    width = size("x_embedder.weight", 0)
    if not width:
        raise broken_error(entry, "a ControlNet for FLUX is loaded from one file where its tensors have diffusers' names")
    return {
        "in_channels": size("x_embedder.weight", 1),
        "num_layers": blocks("transformer_blocks."),
        "num_single_layers": blocks("single_transformer_blocks."),
        "num_attention_heads": width // FLUX_HEAD,
        "joint_attention_dim": size("context_embedder.weight", 1),
        "pooled_projection_dim": size("time_text_embed.text_embedder.linear_1.weight", 1),
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in tensors,
        "num_mode": size("controlnet_mode_embedder.weight", 0),
        "conditioning_embedding_channels": size("input_hint_block.conv_out.weight", 0),
    }


def _read_header(entry: ModelEntry, file: Path) -> Header:
    try:
        return read_header(file)
    except HeaderError as error:
        raise _damaged(entry, file, error) from error


def _named_tensors(header: Header) -> tuple[str, dict[str, TensorInfo]]:
    """What stands before its tensors' names, and those tensors without it."""
    prefix = controlnet_prefix(header.tensors)
    return prefix, {name.removeprefix(prefix): info for name, info in header.tensors.items() if name.startswith(prefix)}


def _damaged(entry: ModelEntry, file: Path, error: HeaderError) -> DarkroomError:
    return DarkroomError("damaged", 422, f"The file {file.name} of {entry.name} is damaged: {error}.")
