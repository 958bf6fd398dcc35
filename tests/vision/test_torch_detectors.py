"""Each family of transformers' detectors finds here what its plain call finds, alone and in a batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection, AutoProcessor

from api.errors import DarkroomError
from api.jobs.models import Job
from api.vision.backends.run_detector import run_detector
from api.vision.detection import DetectionRequest, Found
from tests.vision.conftest import blank, encoded
from tests.vision.tiny_detectors import FAMILIES, LABELS, OPEN_FAMILIES

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


def figures(found: list[Found]) -> list[tuple[Any, ...]]:
    return [(one.label, round(one.score, 4), *(round(value, 1) for value in one.box.as_json().values())) for one in found]


def plain_figures(result: dict[str, torch.Tensor], size: tuple[int, int], labels: Any) -> list[tuple[Any, ...]]:
    """As `figures`, of what transformers' post-processing gives: cut at the edges, without boxes that have no area."""
    width, height = size
    rows = []
    for score, label, box in zip(result["scores"], result["labels"], result["boxes"], strict=True):
        left, top, right, bottom = box.tolist()
        left, right = (min(max(value, 0), width) for value in (left, right))
        top, bottom = (min(max(value, 0), height) for value in (top, bottom))
        if right > left and bottom > top:
            corners = (round(round(value, 2), 1) for value in (left, top, right, bottom))
            rows.append((labels[int(label)], round(float(score), 4), *corners))
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_finds_what_the_plain_call_finds(family: str, loader: Any, detector_catalog: Path) -> None:
    picture, folder = drawn(), detector_catalog.parent / family
    model, processor = AutoModelForObjectDetection.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=picture, return_tensors="pt"))
    [plain] = processor.post_process_object_detection(outputs, threshold=-1, target_sizes=[picture.size[::-1]])
    [found] = find(loader, f"tiny-{family}", DetectionRequest(picture, **EVERYTHING))
    assert sorted(figures(found)) == pytest.approx(sorted(plain_figures(plain, picture.size, LABELS))), family
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


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("family", OPEN_FAMILIES)
def test_words_are_looked_for_as_the_plain_call_does(family: str, loader: Any, detector_catalog: Path) -> None:
    picture, words, folder = drawn(), ("a cat", "dog"), detector_catalog.parent / family
    model, processor = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    inputs = processor(images=[picture], text=[list(words)], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    sizes = [picture.size[::-1]]
    if family == "owlv2":
        [plain] = processor.post_process_grounded_object_detection(outputs, threshold=-1, target_sizes=sizes)
    else:
        [plain] = processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=-1, text_threshold=0.0, target_sizes=sizes
        )
    [found] = find(loader, f"tiny-{family}", DetectionRequest(picture, classes=words, **EVERYTHING))
    scores = {round(float(score), 3) for score in plain["scores"]}
    assert {round(one.score, 3) for one in found} <= scores
    assert {one.label for one in found} <= set(words)
    assert {one.class_id for one in found} <= {0, 1}
    corners = {tuple(round(value) for value in row) for row in plain["boxes"].numpy().clip(0, [100, 60, 100, 60]).tolist()}
    assert {tuple(round(value) for value in (*one.box.as_json().values(),)) for one in found} <= corners
    assert len(found) >= 5


@pytest.mark.parametrize("family", OPEN_FAMILIES)
def test_requests_for_different_words_keep_their_own(family: str, loader: Any) -> None:
    requests = [
        DetectionRequest(drawn(), classes=classes, **EVERYTHING) for classes in (("cat",), ("dog", "red"), ("cat",))
    ]
    first, second, third = find(loader, f"tiny-{family}", *requests)
    assert {one.label for one in first} == {"cat"}
    assert {one.label for one in second} <= {"dog", "red"}
    assert figures(first) == figures(third)


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
