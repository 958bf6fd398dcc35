"""Hazard models: which files are read, how a picture goes in, what an output means, and which files are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

from api.catalog import ModelEntry
from api.devices import probe_device
from api.errors import DarkroomError
from api.loading.hazards import HazardModel, build_hazard_model
from api.loading.mobilenet import MobileNetV2
from api.vision.backends.hazards.decisions import prepare
from api.vision.backends.hazards.run_hazards import find_with
from api.vision.boxes import Box
from api.vision.hazard_risk import Position, position_of, risk_of
from api.vision.hazards import FoundHazards, HazardRequest
from tests.vision.hazard_models import (
    QUARTERS,
    build_constant,
    build_mobilenet,
    build_quarters,
    mobilenet,
    save_graph,
    write_cells,
)

pytestmark = pytest.mark.models


def load(folder: Path) -> HazardModel:
    entry = ModelEntry(id="mine", name="Mine", task="hazard-cells", path=folder)
    return build_hazard_model(entry, folder, probe_device("cpu"))


def find(model: HazardModel, picture: Image.Image, threshold: float = 0.5) -> FoundHazards:
    [found] = find_with(model, [HazardRequest(picture, threshold)], 1)
    assert isinstance(found, FoundHazards), found
    return found


def labels(found: FoundHazards) -> dict[int, list[str]]:
    return {cell.index: [label.label for label in cell.labels] for cell in found.cells}


def quarters(*colours: str, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Upper left, upper right, lower left, lower right."""
    small = Image.new("RGB", (2, 2))
    for place, colour in enumerate(colours):
        small.paste(colour, (place % 2, place // 2, place % 2 + 1, place // 2 + 1))
    return small.resize(size, Image.Resampling.NEAREST)


# ---------------------------------------------------------------- the network


def test_mobilenet_has_torchvisions_names_and_shapes() -> None:
    state = MobileNetV2(1248).state_dict()
    assert len(state) == 314  # as torchvision's mobilenet_v2
    assert sum(parameter.numel() for parameter in MobileNetV2(1248).parameters()) == 3_822_560
    shapes = {
        "features.0.0.weight": (32, 3, 3, 3), "features.0.1.running_var": (32,), "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1), "features.1.conv.2.bias": (16,), "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3), "features.2.conv.1.1.weight": (96,), "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.17.conv.3.weight": (320,), "features.18.0.weight": (1280, 320, 1, 1), "classifier.1.weight": (1248, 1280),
    }  # fmt: skip
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


@torch.no_grad()
def test_mobilenet_computes_what_transformers_computes_with_the_same_weights() -> None:
    state = mobilenet(12)
    config = MobileNetV2Config(num_labels=12, tf_padding=False, layer_norm_eps=1e-5, classifier_dropout_prob=0.0)
    reference = MobileNetV2ForImageClassification(config).eval()
    names = list(reference.state_dict())
    assert [tuple(value.shape) for value in reference.state_dict().values()] == [tuple(value.shape) for value in state.values()]
    reference.load_state_dict(dict(zip(names, state.values(), strict=True)))
    network = MobileNetV2(12).eval()
    network.load_state_dict(state)
    picture = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(picture), reference(picture).logits, atol=1e-4, rtol=1e-4)


def test_weights_in_safetensors_answer_for_each_cell(tmp_path: Path) -> None:
    model = load(build_mobilenet(tmp_path))
    pictures = np.random.default_rng(0).random((3, 3, 224, 224), np.float32)
    together = model.run(pictures)
    assert together.shape == (3, 12)
    assert np.allclose(together[1:2], model.run(pictures[1:2]), atol=1e-4)


# ---------------------------------------------------------------- pixels


def test_a_picture_goes_in_whole_with_pixels_of_0_to_1_and_no_normalization() -> None:
    pixels = prepare(Image.new("RGB", (848, 480), (255, 128, 0)), 224, 224)
    assert (pixels.shape, pixels.dtype) == ((3, 224, 224), np.float32)
    assert np.allclose(pixels[:, 100, 100], [1.0, 128 / 255, 0.0])


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 20000), (160, 120)])
def test_a_picture_of_any_shape_is_answered(tmp_path: Path, size: tuple[int, int]) -> None:
    found = find(load(build_quarters(tmp_path)), Image.new("RGB", size, "black"))
    assert labels(found) == {cell: ["tối"] for cell in range(4)}
    last = found.cells[-1].box
    assert (last.xmax, last.ymax) == size


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_a_file_in_onnx_says_what_is_in_each_cell(tmp_path: Path, half: bool) -> None:
    found = find(load(build_quarters(tmp_path, half=half)), quarters("white", "black", "pink", "red"))
    assert labels(found) == {1: ["tối"], 3: ["red", "tối"]}
    assert found.cells[0].box == Box(80.0, 0.0, 160.0, 60.0)


# ---------------------------------------------------------------- decisions


def logits(*scores: float) -> list[list[float]]:
    return [np.log(np.array(scores) / (1 - np.array(scores))).tolist()]


ONE_CELL = {**QUARTERS, "boxes": [[0, 0, 80, 60]]}


@pytest.mark.parametrize(
    ("scores", "threshold", "said"),
    [
        ((0.9, 0.2, 0.1), 0.5, ["tối"]),
        ((0.7, 0.9, 0.1), 0.5, ["red", "tối"]),
        ((0.7, 0.2, 0.8), 0.5, ["tối"]),  # "normal" beside a class does not take it away
        ((0.2, 0.1, 0.9), 0.5, []),
        ((0.3, 0.4, 0.2), 0.5, ["red"]),  # none is above: the largest
        ((0.3, 0.2, 0.4), 0.5, []),
        ((0.3, 0.2, 0.4), 0.25, ["tối"]),
        ((0.3, 0.2, 0.4), 0.0, ["tối", "red"]),
        ((0.3, 0.5, 0.4), 1.0, ["red"]),
        ((0.3, 0.2, 0.4), 1.0, []),
    ],
)
def test_a_class_is_in_a_cell_above_the_threshold_and_where_none_is_the_largest_counts(
    tmp_path: Path, scores: tuple[float, ...], threshold: float, said: list[str]
) -> None:
    found = find(load(build_constant(tmp_path, logits(*scores), ONE_CELL)), Image.new("RGB", (80, 60)), threshold)
    assert labels(found) == ({0: said} if said else {})
    assert [label.score for cell in found.cells for label in cell.labels] == pytest.approx(
        sorted((score for score, name in zip(scores, ("tối", "red"), strict=False) if name in said), reverse=True)
    )


def test_a_file_may_give_probabilities_where_its_cells_say_so(tmp_path: Path) -> None:
    said = {**QUARTERS, "outputs": "probabilities"}
    write_cells(build_quarters(tmp_path, probabilities=True), said)
    [cell] = find(load(tmp_path), quarters("white", "white", "white", "black")).cells
    assert (cell.index, cell.labels[0].label) == (3, "tối")
    assert cell.labels[0].score > 0.99


@pytest.mark.parametrize(("outputs", "values"), [("probabilities", 3.0), ("logits", float("nan")), ("logits", float("inf"))])
def test_outputs_that_are_no_probabilities_are_an_error(tmp_path: Path, outputs: str, values: float) -> None:
    model = load(build_constant(tmp_path, [[values] * 12], {**QUARTERS, "outputs": outputs}))
    [found] = find_with(model, [HazardRequest(Image.new("RGB", (8, 8)))], 1)
    assert isinstance(found, DarkroomError)
    assert (found.code, found.status) == ("broken_model", 422)


# ---------------------------------------------------------------- position and risk


@pytest.mark.parametrize(
    ("box", "side", "distance"),
    [
        (Box(0, 0, 100, 100), "left", "far"),
        (Box(100, 100, 200, 200), "ahead", "far"),
        (Box(250, 0, 300, 201), "right", "near"),
        (Box(50, 150, 149, 300), "left", "near"),
    ],
)
def test_a_position_is_a_third_of_the_width_and_near_is_the_lowest_third(box: Box, side: Any, distance: Any) -> None:
    assert position_of(box, 300, 300) == Position(side, distance)


@pytest.mark.parametrize(
    ("positions", "risk"),
    [
        ([], "none"),
        ([("left", "far")], "low"),
        ([("ahead", "far"), ("left", "far")], "medium"),
        ([("right", "near")], "medium"),
        ([("ahead", "near"), ("left", "far")], "high"),
        ([("ahead", "far"), ("left", "near")], "medium"),  # no one of them is both
    ],
)
def test_risk_is_how_near_and_how_straight_ahead_the_worst_hazard_is(positions: list[tuple[Any, Any]], risk: str) -> None:
    assert risk_of([Position(*position) for position in positions]) == risk


# ---------------------------------------------------------------- files that are refused


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in QUARTERS.items() if name != key}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("{", "cells.json is no JSON"),
        ("[" * 100_000, "cells.json is no JSON"),
        ([], "holds no object"),
        (without("reference"), '"reference" of cells.json must be'),
        ({**QUARTERS, "reference": {"width": 0, "height": 60}}, '"reference" of cells.json must be'),
        ({**QUARTERS, "reference": {"width": True, "height": 60}}, '"reference" of cells.json must be'),
        (without("boxes"), '"boxes" of cells.json must be a list of 1 to'),
        ({**QUARTERS, "boxes": []}, '"boxes" of cells.json must be a list of 1 to'),
        ({**QUARTERS, "boxes": [[0, 0, 40]]}, r"cell 0 of cells.json must be \[xmin, ymin, xmax, ymax\]"),
        ({**QUARTERS, "boxes": [[0, 0, 40, float("nan")]]}, "cell 0 of cells.json must be"),
        (
            {**QUARTERS, "boxes": [[0, 0, 40, 30], [40, 0, 81, 30]]},
            "cell 1 of cells.json lies outside the reference picture of 80 × 60",
        ),
        ({**QUARTERS, "boxes": [[-1, 0, 40, 30]]}, "cell 0 of cells.json lies outside"),
        ({**QUARTERS, "boxes": [[40, 0, 40, 30]]}, "cell 0 of cells.json is empty"),
        ({**QUARTERS, "boxes": [[40, 0, 20, 30]]}, "cell 0 of cells.json is empty"),
        (without("classes"), '"classes" of cells.json must be a list'),
        ({**QUARTERS, "classes": ["a", 1]}, '"classes" of cells.json must be texts'),
        ({**QUARTERS, "classes": ["a", "x" * 301]}, '"classes" of cells.json must be texts'),
        ({**QUARTERS, "classes": ["tối", "to\u0302\u0301i"]}, "has a name twice"),  # one of them in NFD
        ({**QUARTERS, "classes": ["a", "normal"]}, 'must not list "normal"'),
        ({**QUARTERS, "outputs": "softmax"}, '"outputs" of cells.json must be one of logits, probabilities'),
        ({**QUARTERS, "box": []}, "unknown key 'box'"),
        ({**QUARTERS, "classes": ["a", "b", "c"]}, "its 12 outputs are 3 cells, and cells.json has 4"),
        ({**QUARTERS, "classes": ["a", "b", "c", "d"]}, "12 outputs, which is no multiple of 5"),
    ],
)
@pytest.mark.parametrize("build", [build_quarters, build_mobilenet])
def test_cells_that_do_not_fit_are_refused_in_words(
    build: Callable[[Path], Path], tmp_path: Path, cells: Any, reason: str
) -> None:
    write_cells(build(tmp_path), cells)
    with pytest.raises(DarkroomError, match=reason) as caught:
        load(tmp_path)
    assert (caught.value.code, caught.value.status) == ("broken_model", 422)


@pytest.mark.parametrize("build", [build_quarters, build_mobilenet])
def test_weights_without_cells_are_refused(build: Callable[[Path], Path], tmp_path: Path) -> None:
    (build(tmp_path) / "cells.json").unlink()
    with pytest.raises(DarkroomError, match=r"there is no cells\.json beside its weights"):
        load(tmp_path)


def test_an_onnx_file_with_another_kind_of_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="its output is 1 × 4 × 3, and 1 × outputs is wanted"):
        load(build_constant(tmp_path, np.zeros((1, 4, 3))))


def identity(folder: Path, shape: list[Any], kind: int = TensorProto.FLOAT) -> Path:
    write_cells(folder)
    given = helper.make_tensor_value_info("images", kind, shape)
    taken = helper.make_tensor_value_info("outputs", kind, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["outputs"])], "odd", [given], [taken])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx")
    return folder


@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        ([1, 3, 8], TensorProto.FLOAT, "its input is 1 × 3 × 8"),
        ([1, 4, 8, 8], TensorProto.FLOAT, "its input is 1 × 4 × 8 × 8"),
        ([4, 3, 8, 8], TensorProto.FLOAT, "its input is 4 × 3 × 8 × 8"),
        ([1, 3, 9000, 8], TensorProto.FLOAT, "its input has 8 × 9000 pixels"),
        ([1, 3, 8, 8], TensorProto.UINT8, r"its input is a tensor\(uint8\)"),
        ([1, 3, 8, 8], TensorProto.FLOAT, "its output is 1 × 3 × 8 × 8"),
    ],
)
def test_an_onnx_file_with_another_kind_of_input_is_refused(tmp_path: Path, shape: list[Any], kind: int, reason: str) -> None:
    with pytest.raises(DarkroomError, match=reason):
        load(identity(tmp_path, shape, kind))


def test_a_custom_operator_and_data_outside_the_folder_are_refused(tmp_path: Path) -> None:
    odd = helper.make_node("Run", ["images"], ["outputs"], domain="com.evil")
    save_graph(write_cells(tmp_path / "operator"), [odd], [], [1, 3, 8, 8], [1, 12])
    with pytest.raises(DarkroomError, match=r"the custom operator com\.evil\.Run"):
        load(tmp_path / "operator")
    build_quarters(tmp_path / "data")
    model = onnx.load(tmp_path / "data" / "model.onnx")
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../outside.bin")
    (tmp_path / "outside.bin").write_bytes(b"\0" * 36)
    (tmp_path / "data" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DarkroomError, match="reads data outside its folder"):
        load(tmp_path / "data")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    build_mobilenet(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(DarkroomError, match=r"model\.safetensors is damaged"):
        load(tmp_path / "torch")
    (write_cells(tmp_path / "onnx") / "model.onnx").write_bytes(b"no model")
    with pytest.raises(DarkroomError) as caught:
        load(tmp_path / "onnx")
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("features.5.conv.2.weight"), "Missing key"),
        (lambda state: state.pop("classifier.1.weight"), r"lacks the tensor classifier\.1\.weight"),
        (lambda state: state.update({"features.0.0.weight": torch.zeros(16, 3, 3, 3)}), "size mismatch"),
        (lambda state: state.update({"classifier.1.weight": torch.zeros(12)}), "has 1 axes"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_reason(
    tmp_path: Path, change: Callable[[Any], object], reason: str
) -> None:
    state = mobilenet(12)
    change(state)
    save_file(state, write_cells(tmp_path) / "model.safetensors")
    with pytest.raises(DarkroomError, match=reason):
        load(tmp_path)


def test_a_size_that_the_file_leaves_open_is_224(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["images"], ["sizes"], start=2, end=3),
        helper.make_node("Cast", ["sizes"], ["side"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["side", "wanted"], ["wrong"]),
        helper.make_node("Add", ["values", "wrong"], ["outputs"]),
    ]
    values = [numpy_helper.from_array(np.zeros((1, 12), np.float32), "values")]
    values.append(numpy_helper.from_array(np.array([224], np.float32), "wanted"))
    model = load(save_graph(write_cells(tmp_path), nodes, values, [1, 3, "side", "side"], [1, 12]))
    assert (model.width, model.height) == (224, 224)
    assert (model.run(np.zeros((1, 3, 224, 224), np.float32)) == 0).all()
