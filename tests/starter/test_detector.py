"""The detector's parts: its measure, its losses, its training, and its file in the layout of YOLOv8's exports."""

import ast
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.catalog import ModelEntry
from api.loading.yolo import load_yolo
from api.starter.best_of_figures import Sampled, candidates_of, compare, mcnemar
from api.starter.detector.average_precision import Boxes, average_precision, mean_average_precision, overlaps
from api.starter.detector.drawings import Drawing, for_evaluation, for_training
from api.starter.detector.export import export_onnx
from api.starter.detector.losses import assign, complete_iou, detector_loss, iou
from api.starter.detector.network import Detector, Exported, boxes_of, cells
from api.starter.detector_figures import FOLDER, card_rows, on_drawings, on_samples
from api.starter.evaluation import GUIDANCE, GUIDANCE_RESCALE, STEPS, scene_prompts
from api.starter.training import detector, from_drawings
from api.starter.training.detector import train_detector
from api.starter.training.from_drawings import as_batch, trainer_of
from api.starter.training.run import need_checkpoint
from api.starter.world.labels import NAMES
from api.vision.backends.yolo import detect_yolo
from api.vision.boxes import Box
from api.vision.detection import DetectionRequest, Found
from config.catalog import get_catalog

pytestmark = pytest.mark.models


# ---------------------------------------------------------------- mean average precision


def _boxes(*rows: tuple[int, tuple[float, float, float, float], float]) -> Boxes:
    classes, corners, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Boxes(np.array(classes, int), np.array(corners, float).reshape(-1, 4), np.array(scores, float))


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0), (70.0, 70.0, 80.0, 80.0)


def test_iou_of_known_boxes() -> None:
    half = np.array([(5.0, 0.0, 15.0, 10.0), A, FAR])
    assert overlaps(np.array(A), half) == pytest.approx([1 / 3, 1, 0])
    assert iou(torch.tensor(A), torch.tensor(half)).tolist() == pytest.approx([1 / 3, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, A, 0.9), (0, B, 0.8)], 1.0),
        ([(0, A, 0.9)], 0.5),
        ([(0, FAR, 0.9), (0, A, 0.8), (0, B, 0.7)], 2 / 3),  # precision 1/2, then 2/3: the later one counts for both
        ([(0, A, 0.9), (0, FAR, 0.8), (0, B, 0.7)], (1 + 2 / 3) / 2),
        ([(0, A, 0.9), (0, A, 0.8)], 0.5),  # the second find of a box is false
        ([(1, A, 0.9)], 0.0),
        ([], 0.0),
    ],
)
def test_average_precision_of_cases_counted_by_hand(found: list[tuple[int, tuple[float, ...], float]], expected: float) -> None:
    truth = [_boxes((0, A, 1), (0, B, 1))]
    assert average_precision([_boxes(*found)], truth, 0, 0.5) == pytest.approx(expected)


def test_a_looser_box_counts_at_a_half_and_not_at_three_quarters() -> None:
    loose = [_boxes((0, (0.0, 0.0, 10.0, 15.0), 0.9))]
    assert [average_precision(loose, [_boxes((0, A, 1))], 0, at) for at in (0.5, 0.75)] == [1.0, 0.0]


def test_a_box_is_matched_in_its_own_picture_and_absent_classes_have_no_figure() -> None:
    truth, found = [_boxes((0, A, 1)), _boxes((0, B, 1))], [_boxes((0, B, 0.9)), _boxes((0, B, 0.8))]
    assert mean_average_precision(found, truth, ("one", "other"), 0.5) == {"one": pytest.approx(0.25)}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30))
def test_precision_is_never_below_the_share_of_boxes_found_times_the_worst_precision(rows: list[tuple[float, bool]]) -> None:
    truth = [_boxes(*((0, (20.0 * i, 0.0, 20.0 * i + 10, 10.0), 1) for i in range(len(rows) + 1)))]
    found = [
        _boxes(
            *(
                (0, (20.0 * i, 0.0 if hit else 500.0, 20.0 * i + 10, 10.0 if hit else 510.0), s)
                for i, (s, hit) in enumerate(rows)
            )
        )
    ]
    value, hits = average_precision(found, truth, 0, 0.5), sum(hit for _, hit in rows)
    assert value is not None
    assert 0 <= value <= hits / (len(rows) + 1) + 1e-9


# ---------------------------------------------------------------- losses


def test_ciou_is_one_for_the_same_box_and_falls_with_distance() -> None:
    box, near, far = (torch.tensor(corners) for corners in (A, (4.0, 0.0, 14.0, 10.0), FAR))
    same, close, apart = (float(complete_iou(box, other)) for other in (box, near, far))
    assert same == pytest.approx(1, abs=1e-4)
    assert same > close > 0 > apart


def test_cells_are_assigned_to_the_box_that_they_lie_in() -> None:
    middles, _ = cells()
    truth, classes = torch.tensor([(0.0, 0.0, 64.0, 64.0), (128.0, 128.0, 200.0, 220.0)]), torch.tensor([3, 5])
    predicted = torch.cat([middles - 20, middles + 20], dim=1)
    owner, share = assign(torch.full((len(middles), len(NAMES)), 0.1), predicted, middles, classes, truth)
    for number, (x0, y0, x1, y1) in enumerate(truth.tolist()):
        own = middles[owner == number]
        assert 0 < len(own) <= 10
        assert ((own > torch.tensor([x0, y0])) & (own < torch.tensor([x1, y1]))).all()
        assert share[owner == number].max() == pytest.approx(float(iou(predicted[owner == number], truth[number]).max()))
    assert (share[owner < 0] == 0).all()


def test_a_picture_without_boxes_costs_by_what_is_seen_in_vain() -> None:
    empty = Drawing(np.zeros((256, 256, 3), np.uint8), np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    quiet, loud = torch.full((1, 4 + len(NAMES), len(cells()[0])), -9.0), torch.full((1, 4 + len(NAMES), len(cells()[0])), 2.0)
    assert float(detector_loss(loud, [empty])) > float(detector_loss(quiet, [empty])) > 0


def test_a_right_answer_costs_less_than_a_moved_one() -> None:
    drawing = next(drawing for drawing in for_training(1) if len(drawing.classes))
    middles, strides = cells()

    def loss(shift: float) -> float:
        output = torch.full((1, 4 + len(NAMES), len(middles)), -9.0)
        for number, box in zip(drawing.classes, torch.from_numpy(drawing.boxes), strict=True):
            inside = torch.minimum(middles - box[:2], box[2:] - middles).amin(dim=1) > 0
            sides = torch.cat([middles - box[:2], box[2:] - middles], dim=1) + shift
            output[0, :4, inside] = (sides / strides[:, None])[inside].T
            output[0, 4 + int(number), inside] = 4.0
        return float(detector_loss(output, [drawing]))

    assert loss(0) < loss(6) < loss(30)


# ---------------------------------------------------------------- training and export


def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch.manual_seed(0)
    trainer, stream = trainer_of(Detector()), for_training(5)
    drawings = [next(stream) for _ in range(4)]
    losses = []
    for _ in range(8):
        loss = detector_loss(trainer.modules["model"](as_batch(drawings)), drawings)
        losses.append(loss.item())
        trainer.follow(loss, 2e-3, clip=10.0)
        trainer.average.update()
    assert losses[-1] < losses[0] * 0.9


def test_training_goes_on_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "UNSEEN", 12)
    monkeypatch.setattr(from_drawings, "BATCH", 2)
    train_detector(tmp_path, 0.01, torch.device("cpu"))
    first = need_checkpoint(tmp_path / "starter-detector.pt")
    train_detector(tmp_path, first["spent"] + 0.01, torch.device("cpu"))
    second = need_checkpoint(tmp_path / "starter-detector.pt")
    assert 0 < first["step"] < second["step"]
    assert "mAP50" in capsys.readouterr().out
    assert (tmp_path / "starter-detector.png").exists()
    assert (tmp_path / "starter-detector" / "model.onnx").stat().st_size < 2_000_000


@pytest.fixture(scope="module")
def network() -> Detector:
    torch.manual_seed(1)
    return Detector().eval()


@pytest.fixture(scope="module")
def file(network: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detector") / "model.onnx"
    export_onnx(network, path)
    return path


def test_the_file_has_yolov8s_layout_names_and_a_free_batch(file: Path, network: Detector) -> None:
    session = onnxruntime.InferenceSession(file)
    [given], [output] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("images", ["batch", 3, 256, 256], "tensor(float)")
    assert (output.name, output.shape) == ("output0", ["batch", 4 + len(NAMES), 1344])
    about = session.get_modelmeta().custom_metadata_map
    assert ast.literal_eval(about["names"]) == dict(enumerate(NAMES))
    assert ast.literal_eval(about["names_vi"])[NAMES.index("sun")] == "mặt trời"
    assert (about["task"], about["imgsz"]) == ("detect", "[256, 256]")
    assert file.stat().st_size < 2_000_000


@pytest.mark.parametrize("count", [1, 3])
def test_the_file_gives_what_the_network_gives(file: Path, network: Detector, count: int) -> None:
    pictures = torch.rand(count, 3, 256, 256)
    with torch.no_grad():
        expected = Exported(network)(pictures).numpy()
    found = onnxruntime.InferenceSession(file).run(None, {"images": pictures.numpy()})[0]
    assert np.abs(found[:, :4] - expected[:, :4]).max() < 0.5  # pixels; weights are halved
    assert np.abs(found[:, 4:] - expected[:, 4:]).max() < 5e-3


def test_boxes_are_middles_and_sizes_in_pixels(network: Detector) -> None:
    pictures = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        exported, corners = Exported(network)(pictures), boxes_of(network(pictures), *cells())
    assert torch.allclose(exported[0, :2].T - exported[0, 2:4].T / 2, corners[0, :, :2], atol=1e-3)
    assert ((exported[:, 4:] >= 0) & (exported[:, 4:] <= 1)).all()


def test_the_servers_backend_reads_it(file: Path) -> None:
    model = load_yolo(ModelEntry(id="d", name="d", task="object-detection", default_size=256), file)
    assert (model.labels, model.layout, model.batch, model.width) == (NAMES, "raw", None, 256)
    results = detect_yolo(model, [DetectionRequest(Image.new("RGB", (300, 200)), threshold=0.0)] * 3, batch_size=2)
    assert len(results) == 3


# ---------------------------------------------------------------- best of five


def _sampled(right: list[bool], cosines: list[float]) -> Sampled:
    """Picture i is of the grey i."""
    pictures = np.stack([np.full((128, 128, 3), place, np.uint8) for place in range(len(right))])
    return Sampled(
        next(case for case in scene_prompts(60) if case.things == ("house",)), pictures, np.array(right), np.array(cosines)
    )


def _find(requests: list[DetectionRequest]) -> list[list[Found]]:
    """A house in the pictures of the greys 1 and 3, in 3 more clearly."""
    greys = [request.picture.getpixel((0, 0))[0] for request in requests]  # type: ignore[index]
    return [[Found("house", 11, grey / 4, Box(0, 0, 9, 9))] if grey in (1, 3) else [] for grey in greys]


def test_ways_to_choose_are_compared_prompt_by_prompt() -> None:
    sampled = [
        _sampled([False, False, False, True], [0.4, 0.3, 0.2, 0.35]),
        _sampled([True, False, True, True], [0.9, 0.1, 0.1, 0.1]),
    ]
    assert [one.scores["objects_score"] for one in candidates_of(_find, sampled[0])] == [0, 0.25, 0, 0.75]
    figures = compare(_find, sampled)
    assert (figures["prompts"], figures["one"], figures["possible"]) == (2, 0.5, 1.0)
    assert (figures["clip"], figures["objects"], figures["both"]) == (0.5, 1.0, 1.0)
    assert (figures["won"], figures["lost"], figures["gain"][0]) == (1, 0, 0.5)


@pytest.mark.parametrize(("won", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125), (1, 9, 0.021484375)])
def test_mcnemars_exact_test(won: int, lost: int, p: float) -> None:
    assert mcnemar(won, lost) == pytest.approx(p)


# ---------------------------------------------------------------- the file in the repository, and its figures


def _backend(requests: list[DetectionRequest]) -> list[list[Found]]:
    entry = ModelEntry(id="d", name="d", task="object-detection", default_size=256)
    return detect_yolo(load_yolo(entry, FOLDER / "model.onnx"), requests, batch_size=8)  # type: ignore[return-value]


def test_the_shipped_detector_finds_what_is_drawn() -> None:
    figures = on_drawings(_backend, list(for_evaluation(60, 5)))
    assert figures["map50"] > 0.92
    assert figures["map75"] > 0.8
    assert figures["drawings"] == 60


def test_a_perfect_detector_has_a_mean_average_precision_of_one() -> None:
    drawings = list(for_evaluation(12, 6))
    pictures = {drawing.pixels.tobytes(): drawing for drawing in drawings}

    def find(requests: list[DetectionRequest]) -> list[list[Found]]:
        seen = [pictures[np.asarray(request.picture).tobytes()] for request in requests]
        return [
            [
                Found(NAMES[number], int(number), 0.9, Box(*map(float, box)))
                for number, box in zip(one.classes, one.boxes, strict=True)
            ]
            for one in seen
        ]

    figures = on_drawings(find, drawings)
    assert (figures["map50"], figures["map75"]) == (1.0, 1.0)


def test_what_is_found_in_pictures_of_the_starter_is_counted() -> None:
    """Two grey pictures: the judge network sees what it sees, the detector finds a house in the second one only."""
    sampled = [_sampled([True], [0.5]), _sampled([True, True], [0.5, 0.4])]
    sampled[1].pictures[0] = 1
    counts = on_samples(_find, sampled)
    assert (counts["pictures"], counts["asked"], counts["found"], counts["unasked"]) == (2, 2, 1, 0)
    assert counts["found_of_shown"] <= counts["shown"] <= 2


def test_pictures_are_evaluated_as_the_server_makes_them() -> None:
    entry = get_catalog().get("starter")
    assert (entry.default_steps, entry.default_guidance_scale, entry.guidance_rescale) == (STEPS, GUIDANCE, GUIDANCE_RESCALE)


def test_the_card_tells_the_figures_of_the_file() -> None:
    figures = json.loads((FOLDER / "figures.json").read_text())
    card = (FOLDER / "README.md").read_text()
    for name, value in card_rows(figures):
        assert f"| {name} | {value} |" in card
    assert figures["on_drawings"]["drawings"] == 1000
