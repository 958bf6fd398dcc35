"""Small real segmentation models: transformers' own classes with random weights, and a network in ONNX that finds what is red."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper

from tests.vision.tiny_detectors import SIDE, fixed_size, labels_of_config

SWIN: dict[str, Any] = {
    "image_size": SIDE, "patch_size": 4, "embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
DETR: dict[str, Any] = {
    "use_timm_backbone": False, "backbone": None, "use_pretrained_backbone": False, "d_model": 32, "encoder_layers": 1,
    "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 8, "decoder_attention_heads": 8,
    "num_queries": 5,
}  # fmt: skip
SAM_SIZES: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
        "patch_size": 16, "mlp_dim": 16, "global_attn_indexes": [0, 1], "window_size": 0, "num_pos_feats": 8,
    },
    "prompt_encoder_config": {"hidden_size": 16, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
    },
}  # fmt: skip
LARGE_LOGIT = 6.0


def swin() -> Any:
    return transformers.AutoConfig.for_model("swin", **SWIN)


def resnet() -> Any:
    sizes = {"embedding_size": 32, "hidden_sizes": [32] * 4, "depths": [1] * 4, "layer_type": "basic"}
    return transformers.AutoConfig.for_model("resnet", **sizes, out_features=SWIN["out_features"])


def make_segformer() -> tuple[Any, Any]:
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8, **labels_of_config()
    )
    return transformers.SegformerForSemanticSegmentation(config), fixed_size(transformers.SegformerImageProcessorPil)


def make_upernet() -> tuple[Any, Any]:
    config = transformers.UperNetConfig(
        backbone_config=swin(), hidden_size=16, pool_scales=[1, 2], use_auxiliary_head=False, **labels_of_config()
    )
    return transformers.UperNetForSemanticSegmentation(config), fixed_size(transformers.SegformerImageProcessorPil)


def make_beit() -> tuple[Any, Any]:
    config = transformers.BeitConfig(
        image_size=SIDE, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        out_indices=[0, 1, 2, 3], use_auxiliary_head=False, pool_scales=[1, 2], **labels_of_config(),
    )  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    return transformers.BeitForSemanticSegmentation(config), transformers.BeitImageProcessorPil(
        size={"height": 80, "width": 80}, crop_size=size, do_center_crop=True
    )


def make_dpt() -> tuple[Any, Any]:
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=SIDE, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, use_auxiliary_head=False,
        **labels_of_config(),
    )  # fmt: skip
    return transformers.DPTForSemanticSegmentation(config), fixed_size(transformers.DPTImageProcessorPil)


def make_mask2former() -> tuple[Any, Any]:
    config = transformers.Mask2FormerConfig(
        backbone_config=swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=5, **labels_of_config(),
    )  # fmt: skip
    processor = transformers.Mask2FormerImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return transformers.Mask2FormerForUniversalSegmentation(config), processor


def make_maskformer() -> tuple[Any, Any]:
    decoder = transformers.DetrConfig(backbone_config=resnet(), **DETR)
    config = transformers.MaskFormerConfig(
        backbone_config=swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **labels_of_config()
    )
    return transformers.MaskFormerForInstanceSegmentation(config), fixed_size(transformers.MaskFormerImageProcessorPil)


def make_detr() -> tuple[Any, Any]:
    config = transformers.DetrConfig(backbone_config=resnet(), **DETR, **labels_of_config())
    processor = transformers.DetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return transformers.DetrForSegmentation(config), processor


def make_sam() -> tuple[Any, Any]:
    return transformers.SamModel(transformers.SamConfig(**SAM_SIZES)), sam_processor()


def make_sam_hq() -> tuple[Any, Any]:
    decoder = {**SAM_SIZES["mask_decoder_config"], "vit_dim": 16}
    config = transformers.SamHQConfig(**{**SAM_SIZES, "mask_decoder_config": decoder})
    return transformers.SamHQModel(config), sam_processor()


def sam_processor() -> Any:
    sides: dict[str, Any] = {"pad_size": {"height": SIDE, "width": SIDE}, "mask_pad_size": {"height": 16, "width": 16}}
    return transformers.SamImageProcessorPil(size={"longest_edge": SIDE}, mask_size={"longest_edge": 16}, **sides)


SEMANTIC = {"segformer": make_segformer, "upernet": make_upernet, "beit": make_beit, "dpt": make_dpt}
UNIVERSAL = {"mask2former": make_mask2former, "maskformer": make_maskformer, "detr": make_detr}
PROMPTED = {"sam": make_sam, "sam_hq": make_sam_hq}


def build_segmenter(folder: Path, family: str) -> Path:
    torch.manual_seed(0)
    model, processor = {**SEMANTIC, **UNIVERSAL, **PROMPTED}[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_red_mask(file: Path, *, logits: bool = False, scaling: dict[str, Any] | None = None) -> Path:
    """Its mask is the red channel less the green one; as logits, six times as much from -3 on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1) * (LARGE_LOGIT if logits else 1)
    bias = np.array([-LARGE_LOGIT / 2 if logits else 0], np.float32)
    nodes = [helper.make_node("Conv", ["images", "w", "b"], ["raw"]), helper.make_node("Relu", ["raw"], ["mask"])]
    if logits:
        nodes = [helper.make_node("Conv", ["images", "w", "b"], ["mask"])]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, file)
    if scaling is not None:
        file.with_name("preprocessor_config.json").write_text(json.dumps(scaling))
    return file
