"""Each family of transformers' detectors finds here what its plain call finds, alone and in a batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection, AutoProcessor

from api.catalog import ModelEntry
from api.errors import DarkroomError
from api.jobs.models import Job
from api.loading.detectors import TorchDetector, build_detector
from api.vision.backends.closed_vocabulary import detect_closed
from api.vision.backends.run_detector import run_detector
from api.vision.detection import DetectionRequest, Found
from tests.vision.conftest import blank, encoded
from tests.vision.tiny_detectors import FAMILIES, LABELS, OPEN_FAMILIES, build_timm_detr
from tests.vision.tiny_detectors import build_detector as build_detector_folder

pytestmark = pytest.mark.models
EVERYTHING: dict[str, Any] = {"threshold": 0.0, "max_detections": 1000}


def drawn(size: tuple[int, int] = (100, 60), seed: int = 0) -> Image.Image:
    """Coloured noise in blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def find(loader: Any, model_id: str, *requests: DetectionRequest) -> list[list[Found]]:
    results = run_detector(loader, model_id, requests).results
    errors = [result for result in results if isinstance(result, DarkroomError)]
    if errors:
        raise errors[0]
    return results  # type: ignore[return-value]


def figures(found: list[Found]) -> np.ndarray:
    """A row for each: class, score, box; in an order that depends on nothing else."""
    return in_order([(one.class_id, one.score, *vars(one.box).values()) for one in found])


def plain_figures(result: Any, size: tuple[int, int]) -> np.ndarray:
    """As `figures`, of what transformers' post-processing gives: cut at the edges, without boxes that have no area."""
    boxes = result["boxes"].numpy().clip(0, [*size, *size])
    rows = np.column_stack([result["labels"].numpy(), result["scores"].numpy(), boxes])
    return in_order(rows[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])])


def in_order(rows: Any) -> np.ndarray:
    return np.array(sorted(map(tuple, np.asarray(rows, float).round(3).tolist())))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_finds_what_the_plain_call_finds(family: str, loader: Any, detector_catalog: Path) -> None:
    picture, folder = drawn(), detector_catalog.parent / family
    model, processor = AutoModelForObjectDetection.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=picture, return_tensors="pt"))
    [plain] = processor.post_process_object_detection(outputs, threshold=-1, target_sizes=[picture.size[::-1]])
    [found] = find(loader, f"tiny-{family}", DetectionRequest(picture, **EVERYTHING))
    assert figures(found) == pytest.approx(plain_figures(plain, picture.size), abs=2e-3)
    assert {one.label for one in found} == {LABELS[one.class_id] for one in found}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len(found) >= 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_in_a_batch_gives_what_it_gives_alone(family: str, loader: Any) -> None:
    pictures = [drawn(), drawn(seed=1), drawn((60, 100)), drawn(seed=2)]
    requests = [DetectionRequest(picture, **EVERYTHING) for picture in pictures]
    alone = [find(loader, f"tiny-{family}", request)[0] for request in requests]
    together = find(loader, f"tiny-{family}", *requests)
    for one, other in zip(alone, together, strict=True):
        assert np.allclose([found.score for found in one], [found.score for found in other], atol=1e-4)


def test_pictures_whose_inputs_have_one_size_go_through_the_network_together(
    loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.vision.backends import closed_vocabulary

    sizes: list[tuple[int, ...]] = []
    plain = closed_vocabulary.run_model

    def counted(model: Any, prepared: Any, device: Any) -> Any:
        sizes.append((len(prepared), *prepared[0]["pixel_values"].shape[2:]))
        return plain(model, prepared, device)

    monkeypatch.setattr(closed_vocabulary, "run_model", counted)
    pictures = [drawn(), drawn((60, 100)), drawn(seed=1), drawn(seed=2)]
    find(loader, "tiny-detr", *(DetectionRequest(picture) for picture in pictures))
    assert sorted(sizes) == [(1, 106, 64), (3, 64, 106)]


@pytest.mark.parametrize("family", [*FAMILIES, *OPEN_FAMILIES])
@pytest.mark.parametrize("size", [(1, 1), (2000, 10), (10, 2000)])
def test_a_picture_of_any_shape_is_looked_at(family: str, size: tuple[int, int], loader: Any) -> None:
    classes = ("cat",) if family in OPEN_FAMILIES else None
    [found] = find(loader, f"tiny-{family}", DetectionRequest(blank(size), classes=classes, **EVERYTHING))
    for one in found:
        assert 0 <= one.box.xmin < one.box.xmax <= size[0]
        assert 0 <= one.box.ymin < one.box.ymax <= size[1]


def test_only_the_classes_that_were_asked_for_are_given(loader: Any) -> None:
    everything, some = (
        find(loader, "tiny-rt_detr", DetectionRequest(drawn(), classes=classes, **EVERYTHING))[0]
        for classes in (None, (LABELS[1],))
    )
    assert {one.label for one in some} == {LABELS[1]}
    assert len(some) == sum(one.label == LABELS[1] for one in everything) > 0


def detector_of(folder: Path) -> TorchDetector:
    entry = ModelEntry(id="mine", name="Mine", task="object-detection", path=folder)
    detector = build_detector(entry, folder, None)  # type: ignore[arg-type]
    assert isinstance(detector, TorchDetector)
    return detector


def test_a_checkpoint_with_the_backbone_of_timm_is_run_without_it(tmp_path: Path) -> None:
    requests = [DetectionRequest(drawn(), **EVERYTHING)]
    own, timm = (detect_closed(detector_of(folder), requests, 1, "cpu")[0] for folder in build_timm_detr(tmp_path))
    assert figures(own) == pytest.approx(figures(timm))  # type: ignore[arg-type]
    assert len(own) >= 5  # type: ignore[arg-type]


def test_a_backbone_that_only_timm_has_is_refused(tmp_path: Path) -> None:
    _, folder = build_timm_detr(tmp_path, "swin_tiny")
    with pytest.raises(DarkroomError, match=r"backbone swin_tiny is timm's.*resnet50"):
        detector_of(folder)


@pytest.mark.parametrize(
    ("model_type", "task"),
    [("bert", "object-detection"), ("detr", "zero-shot-object-detection"), ("owlv2", "object-detection")],
)
def test_a_checkpoint_of_another_kind_is_refused(model_type: str, task: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    with pytest.raises(DarkroomError, match=f"model_type is '{model_type}'"):
        build_detector(ModelEntry(id="mine", name="Mine", task=task, path=tmp_path), tmp_path, None)  # type: ignore[arg-type]


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    folder = build_detector_folder(tmp_path, "yolos")
    weights = load_file(folder / "model.safetensors")
    removed = next(key for key in weights if "bbox_predictor" in key)
    save_file({key: value for key, value in weights.items() if key != removed}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DarkroomError, match="lack the tensor bbox_predictor"):
        detector_of(folder)


# ---------------------------------------------------------------- words


def plain_outputs(folder: Path, picture: Image.Image, words: tuple[str, ...]) -> tuple[Any, Any, Any]:
    model, processor = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    inputs = processor(images=[picture], text=[list(words)], return_tensors="pt")
    with torch.no_grad():
        return processor, inputs, model(**inputs)


def test_owlv2_finds_what_the_plain_call_finds(loader: Any, detector_catalog: Path) -> None:
    picture, words = drawn(), ("a cat", "dog")
    processor, _, outputs = plain_outputs(detector_catalog.parent / "owlv2", picture, words)
    [plain] = processor.post_process_grounded_object_detection(outputs, threshold=-1, target_sizes=[picture.size[::-1]])
    [found] = find(loader, "tiny-owlv2", DetectionRequest(picture, classes=words, **EVERYTHING))
    assert figures(found) == pytest.approx(plain_figures(plain, picture.size), abs=2e-3)


def test_a_box_of_grounding_dino_has_the_score_of_its_best_token_of_a_word(loader: Any, detector_catalog: Path) -> None:
    """The tokens are [CLS] a cat . dog . [SEP]: the plain call's score is the best of all, those between the words included."""
    picture, words = drawn(), ("a cat", "dog")
    _, inputs, outputs = plain_outputs(detector_catalog.parent / "grounding-dino", picture, words)
    assert inputs["input_ids"].tolist() == [[101, 200, 201, 1012, 202, 1012, 102]]
    by_token = outputs.logits[0].sigmoid()
    by_word = torch.stack([by_token[:, 1:3].amax(1), by_token[:, 4]], dim=1)
    scores, labels = by_word.max(1)
    centers, sizes = outputs.pred_boxes[0].split(2, dim=1)
    boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1) * torch.tensor([100, 60, 100, 60])
    [found] = find(loader, "tiny-grounding-dino", DetectionRequest(picture, classes=words, **EVERYTHING))
    plain = {"scores": scores, "labels": labels, "boxes": boxes}
    assert figures(found) == pytest.approx(plain_figures(plain, picture.size), abs=2e-3)


@pytest.mark.parametrize("family", OPEN_FAMILIES)
def test_requests_for_different_words_keep_their_own(family: str, loader: Any) -> None:
    requests = [DetectionRequest(drawn(), classes=classes, **EVERYTHING) for classes in (("cat",), ("dog", "red"), ("cat",))]
    first, second, third = find(loader, f"tiny-{family}", *requests)
    assert {one.label for one in first} == {"cat"}
    assert {one.label for one in second} <= {"dog", "red"}
    assert figures(first) == pytest.approx(figures(third))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("family", OPEN_FAMILIES)
def test_words_are_asked_for_over_http(family: str, detect: Callable[..., Job]) -> None:
    job = detect(image=encoded(drawn()), model_id=f"tiny-{family}", classes=["a cat", "dog"], threshold=0)
    assert job.result["detections"]
    assert job.prompt == "a cat, dog"


@pytest.mark.parametrize(
    ("family", "classes"),
    [
        ("owlv2", ("traffic sign with words",)),
        ("grounding-dino", ("cat",) * 12),
        ("grounding-dino", ("mèo",)),
        ("grounding-dino", ("...",)),
    ],
)
def test_words_that_the_model_can_not_read_are_a_400(family: str, classes: tuple[str, ...], loader: Any) -> None:
    with pytest.raises(DarkroomError) as refused:
        find(loader, f"tiny-{family}", DetectionRequest(drawn(), classes=classes))
    assert (refused.value.status, refused.value.field) == (400, "classes")


def test_what_would_end_a_word_within_it_is_left_out(loader: Any) -> None:
    """Grounding DINO's text is `a cat. dog.`: a full stop in a word would make two of it."""
    plain, stopped = (
        find(loader, "tiny-grounding-dino", DetectionRequest(drawn(), classes=(word, "dog"), **EVERYTHING))[0]
        for word in ("red cat", "red. cat?")
    )
    assert [one.score for one in plain] == [one.score for one in stopped]
