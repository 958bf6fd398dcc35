"""The names that a UNet's layers have in Stability's implementation: LoRAs for SDXL are written with them.  [torch]"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_OUTSIDE_BLOCKS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_INSIDE_BLOCKS = {
    "resnets": {
        "norm1": "in_layers.0",
        "norm2": "out_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    },
    "downsamplers": {"conv": "op"},
}


def original_names(unet: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name in Stability's implementation, diffusers' name) for those of a UNet's layers that have one."""
    places = _original_places(unet)
    for name in names:
        if name in _OUTSIDE_BLOCKS:
            yield _OUTSIDE_BLOCKS[name], name
            continue
        parts = name.split(".")
        length = 3 if parts[0] == "mid_block" else 4  # mid_block.resnets.0, down_blocks.1.resnets.0
        block, inner = ".".join(parts[:length]), ".".join(parts[length:])
        if block in places:
            yield f"{places[block]}.{_INSIDE_BLOCKS.get(parts[length - 2], {}).get(inner, inner)}", name


def _original_places(unet: Any) -> dict[str, str]:
    """Theirs for each resnet, attention, downsampler and upsampler: they count all blocks in one row."""
    places = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
    places["mid_block.resnets.1"] = "middle_block.2"
    count = 1
    for number, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            places[f"down_blocks.{number}.resnets.{layer}"] = f"input_blocks.{count}.0"
            places[f"down_blocks.{number}.attentions.{layer}"] = f"input_blocks.{count}.1"
            count += 1
        if block.downsamplers is not None:
            places[f"down_blocks.{number}.downsamplers.0"] = f"input_blocks.{count}.0"
            count += 1
    count = 0
    for number, block in enumerate(unet.up_blocks):
        behind = 2 if hasattr(block, "attentions") else 1
        for layer in range(len(block.resnets)):
            places[f"up_blocks.{number}.resnets.{layer}"] = f"output_blocks.{count}.0"
            places[f"up_blocks.{number}.attentions.{layer}"] = f"output_blocks.{count}.1"
            count += 1
        places[f"up_blocks.{number}.upsamplers.0"] = f"output_blocks.{count - 1}.{behind}"
    return places
