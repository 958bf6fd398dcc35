"""From a checkpoint to weights/starter-hazards: balanced, in ONNX, half precision on disk and single precision in use."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from api.chat.export.parts import ExportPart
from api.chat.export.tracing import trace
from api.loading.hazard_cells import FILE
from api.starter.architecture import WEIGHTS
from api.starter.hazard_figures import Answers, ask
from api.starter.training import data
from api.starter.training.hazard_network import SIZE, HazardNetwork
from api.starter.training.run import log, need_checkpoint
from api.starter.world.road import CELLS, CLASSES, HEIGHT, WIDTH

FOLDER, MODEL = "starter-hazards", "model.onnx"
BALANCED, SEED = 1000, data.EVALUATION_SEED + 61
"""Drawings that thresholds are set on; neither training nor the figures use them."""
RECALL = 0.96
"""Of cells with a hazard, on these: a little above what is promised."""
SHIFTS = np.arange(-2.0, 2.01, 0.1)
SMALL = 1000
"""Tensors of fewer numbers stay in single precision."""


def export_hazards(checkpoints: Path, weights: Path = WEIGHTS) -> Path:
    network = HazardNetwork()
    network.load_state_dict(need_checkpoint(checkpoints / "hazards.pt")["model"])
    network.eval()
    balance(network)
    folder = weights / FOLDER
    folder.mkdir(exist_ok=True)
    onnx.save(halved(trace(as_part(fused(network)))), folder / MODEL)
    (folder / FILE).write_text(json.dumps(cells_json(), indent=1) + "\n")
    return folder


def cells_json() -> dict[str, object]:
    return {
        "reference": {"width": WIDTH, "height": HEIGHT},
        "classes": list(CLASSES),
        "outputs": "logits",
        "boxes": [list(box) for box in CELLS],
    }


# ---------------------------------------------------------------- balance


@torch.no_grad()
def balance(network: HazardNetwork) -> None:
    """Move each class's logits to where its F1 is best, then all of them to where enough cells with a hazard are found.

    Training weighs cells, and counts a confident miss for much; the figures count cells.
    """
    answers = ask(lambda pictures: network(torch.from_numpy(pictures)).numpy(), BALANCED, SEED)
    log(f"before balancing: {answers.figures().summary}")
    shifts = shifts_of(answers)
    bias = network.answer.bias
    assert bias is not None
    bias[:-1] += torch.from_numpy(shifts).float()
    log(f"balanced by {np.round(shifts, 1).tolist()}: {shifted(answers, shifts).figures().summary}")


def shifts_of(answers: Answers) -> np.ndarray:
    """(classes,)"""
    best = np.zeros(len(CLASSES))
    for place, name in enumerate(CLASSES):
        one_class = np.eye(len(CLASSES))[place]
        tried = [shifted(answers, shift * one_class).figures().by_class[name].f1 for shift in SHIFTS]
        best[place] = SHIFTS[int(np.argmax(tried))]
    more = (shift for shift in np.arange(0.0, 4.01, 0.1) if shifted(answers, best + shift).figures().risk.recall >= RECALL)
    return best + next(more, 4.0)


def shifted(answers: Answers, shifts: np.ndarray) -> Answers:
    return Answers(answers.logits + np.append(shifts, 0.0), answers.there)


# ---------------------------------------------------------------- ONNX


def fused(network: HazardNetwork) -> HazardNetwork:
    """A copy with every batch normalization inside the convolution before it."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            for place in range(len(module) - 1):
                first, second = module[place], module[place + 1]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[place], module[place + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


def as_part(network: HazardNetwork) -> ExportPart:
    return ExportPart("hazards", network, {"images": torch.zeros(1, 3, SIZE, SIZE)}, [{}], ["outputs"])


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Large weights as float16, each with a Cast to float32 that onnxruntime folds when it loads the file."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= SMALL:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model
