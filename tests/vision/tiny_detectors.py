"""Small real detectors: transformers' own classes with random weights, and ONNX files in the layouts of YOLO's exports."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from transformers.convert_slow_tokenizer import bytes_to_unicode

LABELS = ("mèo", "chó", "xe buýt")
SIDE = 64
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
DETR_SIZES = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 10,
}  # fmt: skip
HYBRID_SIZES = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [16, 16, 16], "feat_strides": [8, 16, 32], "encoder_layers": 1,
    "encoder_ffn_dim": 16, "encoder_attention_heads": 2, "d_model": 16, "num_queries": 10, "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "hidden_expansion": 0.5,
}  # fmt: skip


def labels_of_config() -> dict[str, Any]:
    return {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}


def build_detector(folder: Path, family: str) -> Path:
    """A checkpoint of one of FAMILIES, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def fixed_size(processor_class: Any) -> Any:
    return processor_class(size={"height": SIDE, "width": SIDE})


def backbone(kind: str = "resnet", stages: Sequence[str] = ("stage2", "stage3", "stage4")) -> Any:
    sizes = {key: value for key, value in RESNET.items() if key != "model_type"}
    return transformers.AutoConfig.for_model(kind, **{**sizes, "hidden_sizes": [8, 16, 16, 16]}, out_features=list(stages))


def make_rt_detr(config_class: Any = None, model_class: Any = None) -> tuple[Any, Any]:
    config = (config_class or transformers.RTDetrConfig)(
        backbone_config=backbone("rt_detr_resnet"), **HYBRID_SIZES, **labels_of_config()
    )
    return (model_class or transformers.RTDetrForObjectDetection)(config), fixed_size(transformers.RTDetrImageProcessorPil)


def make_rt_detr_v2() -> tuple[Any, Any]:
    return make_rt_detr(transformers.RTDetrV2Config, transformers.RTDetrV2ForObjectDetection)


def make_d_fine() -> tuple[Any, Any]:
    config = transformers.DFineConfig(backbone_config=backbone("rt_detr_resnet"), **HYBRID_SIZES, **labels_of_config())
    return transformers.DFineForObjectDetection(config), fixed_size(transformers.RTDetrImageProcessorPil)


def make_detr(config_class: Any = None, model_class: Any = None, processor_class: Any = None, **sizes: Any) -> tuple[Any, Any]:
    config = (config_class or transformers.DetrConfig)(
        use_timm_backbone=False, backbone=None, use_pretrained_backbone=False,
        **{"backbone_config": backbone(stages=["stage4"]), **DETR_SIZES, **sizes}, **labels_of_config(),
    )  # fmt: skip
    processor = (processor_class or transformers.DetrImageProcessorPil)(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return (model_class or transformers.DetrForObjectDetection)(config), processor


def make_conditional_detr() -> tuple[Any, Any]:
    return make_detr(
        transformers.ConditionalDetrConfig,
        transformers.ConditionalDetrForObjectDetection,
        transformers.ConditionalDetrImageProcessorPil,
    )


def make_deformable_detr() -> tuple[Any, Any]:
    config = transformers.DeformableDetrConfig(
        use_timm_backbone=False, backbone=None, use_pretrained_backbone=False, backbone_config=backbone(), **{**DETR_SIZES, "d_model": 32},
        num_feature_levels=4, encoder_n_points=2, decoder_n_points=2, **labels_of_config(),
    )  # fmt: skip
    processor = transformers.DeformableDetrImageProcessorPil(size={"shortest_edge": 2 * SIDE, "longest_edge": 4 * SIDE})
    return transformers.DeformableDetrForObjectDetection(config), processor


def make_yolos() -> tuple[Any, Any]:
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[SIDE, SIDE], patch_size=16,
        num_detection_tokens=10, **labels_of_config(),
    )  # fmt: skip
    processor = transformers.YolosImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 8 * SIDE})
    return transformers.YolosForObjectDetection(config), processor


def make_lw_detr() -> tuple[Any, Any]:
    config = transformers.LwDetrConfig(
        backbone_config={
            "model_type": "lw_detr_vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
            "patch_size": 16, "window_block_indices": [0], "num_windows": 4, "out_indices": [1, 2], "pretrain_image_size": SIDE,
        },
        projector_scale_factors=[1.0], d_model=16, decoder_ffn_dim=16, decoder_layers=2, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2, num_queries=10, group_detr=2, decoder_n_points=2, **labels_of_config(),
    )  # fmt: skip
    return transformers.LwDetrForObjectDetection(config), fixed_size(transformers.DeformableDetrImageProcessorPil)


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "rt_detr": make_rt_detr,
    "rt_detr_v2": make_rt_detr_v2,
    "d_fine": make_d_fine,
    "detr": make_detr,
    "conditional_detr": make_conditional_detr,
    "deformable_detr": make_deformable_detr,
    "yolos": make_yolos,
    "lw_detr": make_lw_detr,
}


def build_timm_detr(folder: Path, kind: str = "resnet18") -> tuple[Path, Path]:
    """A DETR on a whole ResNet-18, and the same checkpoint as the hub has them: by timm's names, which its config asks for."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    stages = ["stage1", "stage2", "stage3", "stage4"]
    model, processor = make_detr(backbone_config=transformers.ResNetConfig(**sizes, out_features=stages))
    for name in ("own", "timm"):
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    weights, config_file = folder / "timm" / "model.safetensors", folder / "timm" / "config.json"
    save_file({timm_name(key): value for key, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "use_timm_backbone": True, "backbone": kind, "backbone_config": None}))
    return folder / "own", folder / "timm"


def timm_name(key: str) -> str:
    key = key.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
    key = re.sub(r"encoder\.stages\.(\d)\.layers\.", lambda found: f"layer{int(found[1]) + 1}.", key)
    key = key.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
    key = re.sub(r"layer\.(\d)\.convolution", lambda found: f"conv{int(found[1]) + 1}", key)
    return re.sub(r"layer\.(\d)\.normalization", lambda found: f"bn{int(found[1]) + 1}", key)


# ---------------------------------------------------------------- open vocabulary


BERT_WORDS = ("a", "cat", "dog", "red", "bus", "sign", "traffic", "##s", "!")
BERT_PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
"""Grounding DINO's model knows these tokens by their numbers."""


def build_owlv2(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = owl_tokenizer(folder / "words")
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": tokenizer.eos_token_id}
    vision = {**tower, "image_size": SIDE, "patch_size": 16}
    model = transformers.Owlv2ForObjectDetection(
        transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    )
    model.save_pretrained(folder)
    image_processor = transformers.Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    transformers.Owlv2Processor(image_processor, tokenizer).save_pretrained(folder)
    return folder


def owl_tokenizer(folder: Path) -> Any:
    """CLIP's byte-level BPE without merges: each letter is a token."""
    symbols = list(bytes_to_unicode().values())
    vocabulary = [
        "!",
        *(one for one in symbols if one != "!"),
        *(f"{one}</w>" for one in symbols),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16, pad_token="!")


def build_grounding_dino(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        **{**DETR_SIZES, "d_model": 32}, num_feature_levels=4, max_text_len=24, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    processor = transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessorPil(size={"shortest_edge": 2 * SIDE, "longest_edge": 4 * SIDE}),
        bert_tokenizer(folder / "words"),
    )
    processor.save_pretrained(folder)
    return folder


def bert_tokenizer(folder: Path) -> Any:
    vocabulary = [f"[unused{number}]" for number in range(1100)]
    for token, place in BERT_PLACES.items():
        vocabulary[place] = token
    vocabulary[200 : 200 + len(BERT_WORDS)] = BERT_WORDS
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return transformers.BertTokenizer.from_pretrained(folder)


OPEN_FAMILIES: dict[str, Callable[[Path], Path]] = {"owlv2": build_owlv2, "grounding-dino": build_grounding_dino}


# ---------------------------------------------------------------- YOLO's exports


def raw_output(*found: tuple[Sequence[float], int, float], classes: int = len(LABELS)) -> np.ndarray:
    """(1, 4 + classes, N) of boxes (left, top, right, bottom in input pixels), classes and scores."""
    output = np.zeros((1, 4 + classes, len(found)), np.float32)
    for place, ((left, top, right, bottom), number, score) in enumerate(found):
        output[0, :4, place] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        output[0, 4 + number, place] = score
    return output


def selected_output(*found: tuple[Sequence[float], int, float]) -> np.ndarray:
    """(1, N, 6)"""
    return np.array([[(*box, score, number) for box, number, score in found]], np.float32).reshape(1, -1, 6)


def build_yolo(
    file: Path,
    output: np.ndarray,
    *,
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    names: str | None = repr(dict(enumerate(LABELS))),
    half: bool = False,
    metadata: dict[str, str] | None = None,
    nodes: Sequence[Any] = (),
    initializers: Sequence[Any] = (),
    outputs: int = 1,
    domains: Sequence[str] = (),
) -> Path:
    """A model that gives `output` for every picture of its batch. `nodes` and `initializers` are added as they are."""
    kind = np.float16 if half else np.float32
    tensor = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    constants = {"output": output.astype(kind), "zero": np.zeros((), kind), "axes": np.arange(1, len(shape))}
    graph_nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "rows"], ["column"]),
        *(helper.make_node("Add", ["output", "column"], [f"output{number}"]) for number in range(outputs)),
    ]
    constants["rows"] = np.array([-1, *[1] * (output.ndim - 1)])
    graph = helper.make_graph(
        [*graph_nodes, *nodes],
        "detector",
        [helper.make_tensor_value_info("images", tensor, list(shape))],
        [helper.make_tensor_value_info(f"output{number}", tensor, None) for number in range(outputs)],
        [*(numpy_helper.from_array(value, name) for name, value in constants.items()), *initializers],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    about = {**({} if names is None else {"names": names}), **(metadata or {})}
    helper.set_model_props(model, about)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    return file


def build_red_finder(file: Path) -> Path:
    """A YOLO export (raw layout) that really looks: one box of 16 × 16 around the middle of what is red; nothing on a grey picture."""
    y, x = (axis.astype(np.float32) + 0.5 for axis in np.mgrid[:SIDE, :SIDE])
    constants = {
        "red": np.array(0), "green": np.array(1), "x": x, "y": y, "axes": np.array([1, 2]), "least": np.float32(1e-6),
        "one": np.float32(1), "zero": np.float32(0), "side": np.float32(16), "column": np.array([-1, 1, 1]),
    }  # fmt: skip
    node = helper.make_node
    steps = [
        node("Gather", ["images", "red"], ["reds"], axis=1),
        node("Gather", ["images", "green"], ["greens"], axis=1),
        node("Sub", ["reds", "greens"], ["difference"]),
        node("Relu", ["difference"], ["redness"]),
        node("ReduceSum", ["redness", "axes"], ["sum"], keepdims=0),
        node("Add", ["sum", "least"], ["total"]),
        node("Min", ["sum", "one"], ["score"]),
        node("Mul", ["sum", "zero"], ["nothing"]),
        node("Add", ["nothing", "side"], ["size"]),
    ]
    for axis in "xy":
        steps += [
            node("Mul", ["redness", axis], [f"{axis}_weighted"]),
            node("ReduceSum", [f"{axis}_weighted", "axes"], [f"{axis}_sum"], keepdims=0),
            node("Div", [f"{axis}_sum", "total"], [f"{axis}_middle"]),
        ]
    parts = ["x_middle", "y_middle", "size", "size", "score", "nothing", "nothing"]
    steps += [node("Reshape", [part, "column"], [f"part{number}"]) for number, part in enumerate(parts)]
    steps.append(node("Concat", [f"part{number}" for number in range(len(parts))], ["output"], axis=1))
    graph = helper.make_graph(
        steps,
        "red finder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"names": repr(list(LABELS))})
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    return file
