"""Checkpoints whose backbone is timm's ResNet, run with transformers' own: the same network under other names.  [torch; no Django]

The DETR family on the hub was trained with timm, which needs torchvision, and neither is installed here.
"""

from __future__ import annotations

from typing import Any

from transformers import ResNetConfig

from api.catalog import ModelEntry
from api.errors import DarkroomError

SIZES = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "resnet101": ("bottleneck", [3, 4, 23, 3]),
}
WIDTHS = {"basic": [64, 128, 256, 512], "bottleneck": [256, 512, 1024, 2048]}
FULL_STRIDE = 32


def backbone_without_timm(entry: ModelEntry, config: Any) -> dict[str, str]:
    """Puts transformers' ResNet in the place of timm's in `config`; gives the new names of its tensors, as regular expressions.

    {} where the backbone is another one. Raises DarkroomError for a backbone that only timm has.
    """
    backbone: Any = getattr(config, "backbone_config", None)
    if getattr(backbone, "model_type", "") != "timm_backbone":
        return {}
    kind, depths = SIZES.get(backbone.backbone, ("", []))
    if not kind or (getattr(backbone, "output_stride", None) or FULL_STRIDE) != FULL_STRIDE:
        detail = f"{entry.name} can't be loaded: its backbone {backbone.backbone} is timm's, of which {', '.join(SIZES)} are known here."
        raise DarkroomError("broken_model", 422, detail)
    config.backbone_config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=WIDTHS[kind],
        depths=depths,
        layer_type=kind,
        out_features=[f"stage{place}" for place in backbone.out_indices],
    )
    return tensor_names()


def tensor_names() -> dict[str, str]:
    """transformers allows one group in a pattern: the block's number."""
    names = {
        r"conv_encoder\.model\.conv1\.": "conv_encoder.model.embedder.embedder.convolution.",
        r"conv_encoder\.model\.bn1\.": "conv_encoder.model.embedder.embedder.normalization.",
    }
    for stage in range(4):
        old, new = rf"model\.layer{stage + 1}\.(\d+)\.", rf"model.encoder.stages.{stage}.layers.\1."
        names[rf"{old}downsample\.0\."] = f"{new}shortcut.convolution."
        names[rf"{old}downsample\.1\."] = f"{new}shortcut.normalization."
        for place in range(3):
            names[rf"{old}conv{place + 1}\."] = f"{new}layer.{place}.convolution."
            names[rf"{old}bn{place + 1}\."] = f"{new}layer.{place}.normalization."
    return names
