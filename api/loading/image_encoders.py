"""What reads the pictures of IP-Adapters: the picture half of a CLIP, a folder or one file in transformers' names.  [torch; no Django]"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import broken_error, build_empty, check_numbers, load_complete, read_json
from api.loading.device_memory import bytes_in_dtype, estimate_files
from api.model_files.header import Header, HeaderError, read_header
from api.model_files.layouts import image_encoder_features

CONFIG = "config.json"
NAME = "image_encoder"
HEADS = {768: 12}
USUAL_HEADS = 16
"""Of CLIP's large, huge and giant networks."""
OPENAI_WIDTHS = (768, 1024)
"""Of OpenAI's networks, which have another activation than LAION's huge and giant ones; a file doesn't tell."""
LARGEST_ASPECT = 4
"""Of longer pictures the ends are cut off first: scaled to the network's height they would take gigabytes."""


class ImageEncoder(torch.nn.Module):
    """Pictures to what IP-Adapters read, as diffusers' pipelines do."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        size = network.config.image_size
        self.processor = CLIPImageProcessorPil(size=size, crop_size=size)

    @property
    def features(self) -> tuple[str, ...]:
        config = self.network.config
        return f"embeds-{config.projection_dim}", f"states-{config.hidden_size}"

    @torch.no_grad()
    def read(self, picture: Image.Image, *, states: bool, guided: bool) -> torch.Tensor:
        """Of an RGB picture: (1, width), or with `states` (1, places, width); with `guided` what stands for no picture comes first."""
        pixels = self.processor(cut_ends(picture), return_tensors="pt").pixel_values
        pixels = pixels.to(self.network.device, self.network.dtype)
        if not states:
            found = self.network(pixels).image_embeds
            return torch.cat([torch.zeros_like(found), found]) if guided else found
        shown = [torch.zeros_like(pixels), pixels] if guided else [pixels]
        return torch.cat([self.network(one, output_hidden_states=True).hidden_states[-2] for one in shown])


def cut_ends(picture: Image.Image) -> Image.Image:
    """Only the square in the middle is read in any case."""
    width, height = picture.size
    longest = LARGEST_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return picture.crop((left, top, left + min(width, longest), top + min(height, longest)))


def make_builder() -> Builder:
    return Builder(build=build_image_encoder, estimate=estimate_bytes)


def build_image_encoder(entry: ModelEntry, folder: Path, device: Device) -> ImageEncoder:
    """In the device's dtype. Raises DarkroomError."""
    place = find_encoder(folder) if folder.is_dir() else folder
    if place is None:
        raise broken_error(entry, f"its folder has no {CONFIG} of an image encoder")
    network = load_folder(entry, place, device.dtype) if place.is_dir() else load_one_file(entry, place, device.dtype)
    return ImageEncoder(network.eval().requires_grad_(False))


def find_encoder(folder: Path) -> Path | None:
    """The folder with its configuration: this one, or the first image_encoder below it."""
    if (folder / CONFIG).is_file():
        return folder
    return next((file.parent for file in sorted(folder.rglob(f"{NAME}/{CONFIG}"))), None)


def load_folder(entry: ModelEntry, folder: Path, dtype: torch.dtype) -> Any:
    found = read_json(folder / CONFIG).get("model_type")
    if found not in ("clip_vision_model", "clip"):
        raise broken_error(entry, f"the {CONFIG} of its image encoder is of the type {found!r}, and a CLIP is wanted")
    options = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    return load_complete(CLIPVisionModelWithProjection, entry, folder, dtype=dtype, **options)


def load_one_file(entry: ModelEntry, file: Path, dtype: torch.dtype) -> Any:
    """Its configuration is read off its tensors' shapes."""
    header = header_of(entry, file)
    if not image_encoder_features(header.tensors):
        raise broken_error(entry, f"{file.name} is no picture half of a CLIP in transformers' names")
    try:
        config = config_of(header)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise broken_error(entry, f"{file.name} lacks tensors of the picture half of a CLIP") from error
    network = build_empty(entry, NAME, CLIPVisionModelWithProjection, config)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.named_parameters()}
    given = {name: info.shape for name, info in header.tensors.items()}
    if wrong := sorted(name for name, shape in wanted.items() if given.get(name) != shape):
        raise broken_error(
            entry, f"{file.name} lacks the tensor {wrong[0]}, or has it in another shape than {list(wanted[wrong[0]])}"
        )
    tensors = {name: tensor.to(dtype, copy=True) for name, tensor in load_file(file).items() if name in wanted}
    check_numbers(entry, file.name, tensors)
    network.load_state_dict(tensors, strict=False, assign=True)  # its buffers are no weights, and not empty
    return network.to(dtype)


def config_of(header: Header) -> dict[str, Any]:
    """Raises KeyError, IndexError."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    width, _, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    layers = {name.split(".")[3] for name in shapes if name.startswith("vision_model.encoder.layers.")}
    across = round((shapes["vision_model.embeddings.position_embedding.weight"][0] - 1) ** 0.5)
    return {
        "hidden_size": width,
        "intermediate_size": shapes["vision_model.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": HEADS.get(width, USUAL_HEADS),
        "patch_size": patch,
        "image_size": patch * across,
        "projection_dim": shapes["visual_projection.weight"][0],
        "hidden_act": "quick_gelu" if width in OPENAI_WIDTHS else "gelu",
    }


def header_of(entry: ModelEntry, file: Path) -> Header:
    try:
        return read_header(file)
    except (HeaderError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {file.name} of {entry.name} is damaged: {error}.") from error


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    if folder.is_file():
        return bytes_in_dtype(header_of(entry, folder).tensors.values(), device.dtype)
    place = find_encoder(folder)
    return estimate_files(entry, place, sorted(place.glob("*.safetensors")), device.dtype) if place else 0
