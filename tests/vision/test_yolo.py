"""Detectors that an owner exported to ONNX: both layouts, every kind of input, and files that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from api.catalog import ModelEntry
from api.downloads.local_folders import find_folder, missing_checkpoint
from api.errors import DarkroomError
from api.loading.detectors import build_detector
from api.loading.yolo import YoloModel
from api.vision.backends.box_selection import MOST_CANDIDATES, suppress_overlaps
from api.vision.backends.letterbox import Letterbox
from api.vision.backends.yolo import detect_yolo
from api.vision.detection import DetectionRequest, Found
from tests.vision.conftest import BUS, CAT, CAT_AGAIN, DOG, blank
from tests.vision.tiny_detectors import SIDE, build_yolo, raw_output, selected_output

RAW, SELECTED = raw_output(CAT, DOG, BUS, CAT_AGAIN), selected_output(CAT, DOG, BUS)
NAN = float("nan")


def load(folder: Path, **fields: Any) -> YoloModel:
    entry = ModelEntry(id="mine", name="Mine", task="object-detection", path=folder, **{"default_size": SIDE, **fields})
    model = build_detector(entry, folder, None)  # type: ignore[arg-type]
    assert isinstance(model, YoloModel)
    return model


def build(tmp_path: Path, output: np.ndarray = RAW, **options: Any) -> YoloModel:
    fields = options.pop("fields", {})
    build_yolo(tmp_path / "best.onnx", output, **options)
    return load(tmp_path, **fields)


def find(model: YoloModel, *pictures: Image.Image, **asked: Any) -> list[list[Found]]:
    results = detect_yolo(model, [DetectionRequest(picture, **asked) for picture in pictures], 8)
    errors = [result for result in results if isinstance(result, DarkroomError)]
    if errors:
        raise errors[0]
    return results  # type: ignore[return-value]


def labels(found: list[Found]) -> list[str]:
    return [one.label for one in found]


def refused(build_it: Callable[[], Any]) -> str:
    with pytest.raises(DarkroomError) as error:
        build_it()
    assert error.value.status == 422
    return error.value.detail


# ---------------------------------------------------------------- what is run


@pytest.mark.parametrize(("output", "layout"), [(RAW, "raw"), (SELECTED, "selected")])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 3, SIDE, SIDE), ("batch", 3, SIDE, SIDE), ("batch", 3, "height", "width"), (2, 3, SIDE, SIDE)]
)
def test_a_file_of_either_layout_is_run(output: np.ndarray, layout: str, half: bool, shape: Any, tmp_path: Path) -> None:
    model = build(tmp_path, output, half=half, shape=shape)
    assert model.layout == layout
    for found in find(model, *[blank()] * 3):
        assert labels(found) == ["mèo", "chó", "xe buýt"]
        assert [round(one.score, 2) for one in found] == [0.9, 0.6, 0.3]
        assert vars(found[0].box) == pytest.approx({"xmin": 8, "ymin": 8, "xmax": 40, "ymax": 40}, abs=0.05)


def test_an_open_size_is_the_one_of_the_metadata_or_else_the_catalog(tmp_path: Path) -> None:
    shape = (1, 3, "height", "width")
    assert build(tmp_path, shape=shape).width == SIDE
    wide = build(tmp_path, shape=shape, metadata={"imgsz": "[96, 160]"})
    assert (wide.height, wide.width) == (96, 160)
    assert build(tmp_path, shape=shape, metadata={"imgsz": "640"}).height == 640


def test_two_classes_in_the_raw_layout_are_not_taken_for_the_selected_one(tmp_path: Path) -> None:
    output = raw_output(CAT, DOG, classes=2)
    assert output.shape[1] == 6
    assert labels(find(build(tmp_path, output, names="['a', 'b']"), blank())[0]) == ["a", "b"]


def test_a_selected_output_may_be_empty(tmp_path: Path) -> None:
    assert find(build(tmp_path, np.zeros((1, 0, 6), np.float32)), blank()) == [[]]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("{0: 'mèo', 1: \"chó's\", 2: 'a\\'b'}", ("mèo", "chó's", "a'b")),
        ("['a', 'b', 'c']", ("a", "b", "c")),
        ("{2: 'c', 0: 'a', 1: 'b'}", ("a", "b", "c")),
        ("['me\u0300o', '🛑\\n stop', '" + "x" * 400 + "']", ("mèo", "🛑 stop", "x" * 299 + "…")),
    ],
)
def test_names_are_read_from_the_file(names: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    assert build(tmp_path, names=names).labels == expected


def test_names_of_the_catalog_take_the_place_of_those_of_the_file(tmp_path: Path) -> None:
    classes = ("cat", "dog", "bus")
    assert build(tmp_path, names=None, fields={"classes": classes}).labels == classes
    assert build(tmp_path, fields={"classes": classes}).labels == classes


@pytest.mark.parametrize(
    "names",
    [
        "__import__('os').system('touch hacked')",
        "{0: __import__('os').getcwd()}",
        "{0: 'a', 1: 'b', 3: 'c'}",
        "{'a': 'b'}",
        "{0: ['a'], 1: 'b', 2: 'c'}",
        "[" * 100_000,
        "-" * 100_000 + "1",
        "{0: 'a'" + ", 1: 'b'" * 100_000 + "}",
        "('a', 'b', 'c')",
        "[]",
        "{}",
        "a, b, c",
        "['a' 'b' 'c'",
        "{0: 'a' * 10**9}",
    ],
)
def test_names_that_are_no_list_of_texts_are_refused(names: str, tmp_path: Path) -> None:
    refused(lambda: build(tmp_path, names=names))


def test_a_file_without_names_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert 'classes = ["…"]' in refused(lambda: build(tmp_path, names=None))


# ---------------------------------------------------------------- what is refused


def custom_node() -> Any:
    return helper.make_node("Roll", ["output0"], ["unused"], domain="my.company")


def external(location: str) -> Any:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "outside")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (3, SIDE, SIDE)}, "its input has 3 axes"),
        ({"shape": (1, 1, SIDE, SIDE)}, "1 channels"),
        ({"shape": (1, 3, SIDE, 100_000)}, "100000"),
        ({"output": RAW[0]}, "its output has 2 axes"),
        ({"output": raw_output(CAT, classes=4)}, "does not fit its 3 classes"),
        ({"output": np.zeros((1, 25200, 8), np.float32)}, "1 × 25200 × 8"),
        ({"outputs": 2}, "2 outputs"),
        ({"metadata": {"task": "segment"}}, "'segment'"),
        ({"nodes": [custom_node()], "domains": ["my.company"]}, "custom operator my.company.Roll"),
        ({"initializers": [external("../secret.bin")]}, "outside its folder"),
        ({"initializers": [external("/etc/passwd")]}, "outside its folder"),
        ({"initializers": [external("gone.bin")]}, "gone.bin, which is not there"),
    ],
)
def test_a_file_that_is_no_detector_is_refused_and_says_why(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    assert said in refused(lambda: build(tmp_path / "folder", **options))


def test_a_custom_operator_in_a_branch_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("unused", TensorProto.FLOAT, None)
    branches = {
        "then_branch": helper.make_graph([custom_node()], "then", [], [value]),
        "else_branch": helper.make_graph([helper.make_node("Identity", ["output0"], ["unused"])], "else", [], [value]),
    }
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["chosen"], **branches),
    ]
    assert "my.company" in refused(lambda: build(tmp_path, nodes=nodes, domains=["my.company"]))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside its folder" in refused(lambda: build(tmp_path / "folder", initializers=[external("inside.bin")]))


def test_data_beside_the_file_is_read(tmp_path: Path) -> None:
    file = build_yolo(tmp_path / "best.onnx", RAW)
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="best.onnx.data", size_threshold=64)
    found = load(tmp_path)
    assert labels(find(found, blank())[0]) == ["mèo", "chó", "xe buýt"]
    assert found.nbytes > file.stat().st_size


@pytest.mark.parametrize("data", [b"", b"no model at all", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.onnx").write_bytes(data)
    refused(lambda: load(tmp_path))


def test_a_folder_with_several_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        build_yolo(tmp_path / name, RAW)
    assert "a.onnx, b.onnx" in refused(lambda: load(tmp_path))


@pytest.mark.parametrize("is_file", [False, True])
def test_a_pickle_is_refused_with_the_line_that_exports_it(is_file: bool, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"\x80\x04.")
    path = tmp_path / "best.pt" if is_file else tmp_path
    entry = ModelEntry(id="mine", name="Mine", task="object-detection", path=path)
    assert find_folder(entry) is None
    assert "yolo export model=best.pt format=onnx" in missing_checkpoint(entry, path).detail


def test_a_path_that_is_the_file_itself_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = build_yolo(tmp_path / "best.onnx", RAW)
    entry = ModelEntry(id="mine", name="Mine", task="object-detection", path=file)
    assert find_folder(entry) is None
    assert "name the folder" in missing_checkpoint(entry, file).detail


# ---------------------------------------------------------------- boxes that are none


@pytest.mark.parametrize("layout", [raw_output, selected_output])
def test_boxes_that_are_not_numbers_or_turned_inside_out_are_left_out(layout: Any, tmp_path: Path) -> None:
    bad = [
        ((NAN, 0, 10, 10), 0, 0.95), ((0, 0, float("inf"), 10), 0, 0.95), ((10, 10, 5, 5), 0, 0.95), ((7, 7, 7, 9), 0, 0.95),
        ((0, 0, 9, 9), 1, NAN), ((-50, -50, -10, -10), 0, 0.95),
    ]  # fmt: skip
    [found] = find(build(tmp_path, layout(*bad, CAT)), blank())
    assert [(one.label, round(one.score, 2)) for one in found] == [("mèo", 0.9)]


def test_a_box_over_the_edge_is_cut_at_it(tmp_path: Path) -> None:
    [[found]] = find(build(tmp_path, raw_output(((-10, -10, 30, 100), 0, 0.9))), blank())
    assert vars(found.box) == {"xmin": 0, "ymin": 0, "xmax": 30, "ymax": SIDE}


def test_a_class_without_a_name_is_an_error(tmp_path: Path) -> None:
    assert "names 3" in refused(lambda: find(build(tmp_path, selected_output((CAT[0], 7, 0.9))), blank()))


@pytest.mark.parametrize("layout", [raw_output, selected_output])
def test_scores_that_are_logits_are_an_error(layout: Any, tmp_path: Path) -> None:
    assert "from 0 to 1" in refused(lambda: find(build(tmp_path, layout((CAT[0], 0, 7.5))), blank()))


# ---------------------------------------------------------------- properties


sides = st.integers(1, 5000)


@settings(max_examples=200, deadline=None)
@given(width=sides, height=sides, across=st.sampled_from([32, 320, 640]), down=st.sampled_from([32, 384, 640]), data=st.data())
def test_a_box_that_goes_through_the_letterbox_comes_back(width: int, height: int, across: int, down: int, data: Any) -> None:
    letterbox = Letterbox.of((width, height), (across, down))
    corner = st.tuples(st.floats(0, width), st.floats(0, height))
    box = np.array([[*data.draw(corner), *data.draw(corner)]])
    inside = letterbox.to_input(box)
    assert np.allclose(letterbox.to_picture(inside), box, atol=1e-6)
    assert (inside >= -1e-6).all()
    assert (inside <= np.array([across, down] * 2) + 1e-6).all()


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (63, 64), (30, 64), (1, 1), (20000, 10)])
def test_a_picture_is_laid_into_the_middle_of_grey(size: tuple[int, int]) -> None:
    letterbox = Letterbox.of(size, (SIDE, SIDE))
    pixels = letterbox.apply(blank(size, "red"))
    red = (np.abs(pixels - np.array([1, 0, 0]).reshape(3, 1, 1)) < 0.01).all(axis=0)
    assert pixels.shape == (3, SIDE, SIDE)
    assert red.sum() == letterbox.scaled_size[0] * letterbox.scaled_size[1]
    assert np.allclose(pixels[:, ~red], 114 / 255)
    rows, columns = red.any(axis=1), red.any(axis=0)
    for used, start in ((rows, letterbox.top), (columns, letterbox.left)):
        assert used.argmax() == start
        assert abs(start - (SIDE - used.sum()) / 2) <= 0.5


def plain_suppression(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    """One box after the other, the best first."""
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]:
        left, top = np.maximum(boxes[place, :2], boxes[kept, :2]).T.reshape(2, -1)
        right, bottom = np.minimum(boxes[place, 2:], boxes[kept, 2:]).T.reshape(2, -1)
        shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
        area = np.prod(boxes[place, 2:] - boxes[place, :2])
        union = area + np.prod(boxes[kept, 2:] - boxes[kept, :2], axis=1) - shared
        if not ((shared > iou * union) & (classes[kept] == classes[place])).any():
            kept.append(int(place))
    return kept


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 60), iou=st.sampled_from([0.1, 0.3, 0.45, 0.7, 0.95]))
def test_overlaps_are_suppressed_as_plain_numpy_does(seed: int, count: int, iou: float) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 100, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 60, (count, 2))], axis=1)
    scores, classes = random.permutation(count).astype(np.float32) / max(count, 1), random.integers(0, 3, count)
    assert suppress_overlaps(boxes, scores, classes, iou).tolist() == plain_suppression(boxes, scores, classes, iou)


def test_only_the_best_candidates_are_compared() -> None:
    count = MOST_CANDIDATES + 500
    boxes = np.tile([[0.0, 0.0, 10.0, 10.0]], (count, 1)) + 20 * np.arange(count)[:, None]
    scores = np.linspace(0, 1, count).astype(np.float32)
    kept = suppress_overlaps(boxes, scores, np.zeros(count, np.int64), 0.45)
    assert kept.tolist() == list(range(count - 1, 499, -1))
