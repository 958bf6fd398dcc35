"""Classifiers of pictures with random weights, in the forms that transformers saves."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForImageClassification

SIDE = 32
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": SIDE,
    "patch_size": 8,
}
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 64}
WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": SIDE}
STAGES = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}
TYPES: dict[str, tuple[str, dict[str, Any], str]] = {
    "vit": ("ViTConfig", SMALL, "ViTImageProcessor"),
    "deit": ("DeiTConfig", {**SMALL, "architectures": ["DeiTForImageClassification"]}, "ViTImageProcessor"),
    "beit": ("BeitConfig", SMALL, "BeitImageProcessor"),
    "swin": (
        "SwinConfig",
        {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": SIDE},
        "ViTImageProcessor",
    ),
    "convnext": ("ConvNextConfig", STAGES, "ConvNextImageProcessor"),
    "dinov2": ("Dinov2Config", {**SMALL, "mlp_ratio": 2}, "BitImageProcessor"),
    "siglip": (
        "SiglipConfig",
        {
            "vision_config": SMALL,
            "text_config": TEXT,
        },
        "SiglipImageProcessor",
    ),
    "resnet": ("ResNetConfig", {**STAGES, "embedding_size": 8}, "ConvNextImageProcessor"),
}


def build_classifier(
    folder: Path, model_type: str = "vit", labels: tuple[str, ...] = ("normal", "nsfw"), **options: Any
) -> Path:
    torch.manual_seed(0)
    config_class, parameters, processor_class = TYPES[model_type]
    names = dict(enumerate(labels))
    config = getattr(transformers, config_class)(
        **parameters, id2label=names, label2id={name: i for i, name in names.items()}, **options
    )
    model = AutoModelForImageClassification.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("classifier") and weight.ndim == 2:
                weight.normal_(0, 1)  # else all pictures have nearly the same score
    model.save_pretrained(folder, safe_serialization=True)
    size = {"shortest_edge": SIDE} if processor_class == "ConvNextImageProcessor" else {"height": SIDE, "width": SIDE}
    getattr(transformers, processor_class)(size=size).save_pretrained(folder)
    return folder
