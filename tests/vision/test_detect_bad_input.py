"""Pictures of every kind: what is seen is what a person sees, or the request is refused with a sentence."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from api.jobs.models import Job
from tests.vision.conftest import ASYNC, blank, encoded
from tests.vision.tiny_detectors import SIDE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
Detect = Callable[..., Job]
RED, PLACE = (255, 0, 0), (8, 24)
ORIENTATION = 0x0112
UNDO = {  # of the pixels, what the EXIF value then does again
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(size: tuple[int, int] = (SIDE, SIDE), mode: str = "RGB", ground: Any = "white") -> Image.Image:
    """A red square whose middle is at PLACE."""
    image = Image.new(mode, size, ground)
    left, top = PLACE[0] - 6, PLACE[1] - 6
    image.paste(Image.new(mode, (12, 12), RED), (left, top))
    return image


def middle(job: Job) -> tuple[float, float]:
    [found] = job.result["detections"]
    box = found["box"]
    return (max(box["xmin"], 0) + box["xmax"]) / 2, (box["ymin"] + box["ymax"]) / 2


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_boxes_are_in_the_picture_as_a_person_sees_it(value: int, format: str, detect: Detect) -> None:
    upright = scene((SIDE, 48))
    stored = upright.transpose(UNDO[value]) if value in UNDO else upright
    exif = Image.Exif()
    exif[ORIENTATION] = value
    job = detect(image=encoded(stored, format, exif=exif), model_id="tiny-red", annotate=True)
    assert (job.result["width"], job.result["height"]) == upright.size
    assert middle(job) == pytest.approx(PLACE, abs=2.5)


def rgba() -> Image.Image:
    return scene(mode="RGBA", ground=(0, 0, 0, 0))


def palette() -> Image.Image:
    return scene().quantize(8)


def see_through_palette() -> Image.Image:
    image = scene().quantize(8)
    image.info["transparency"] = image.getpixel((60, 60))
    return image


def cmyk() -> Image.Image:
    return scene().convert("CMYK")


@pytest.mark.parametrize(
    ("make", "format"), [(rgba, "PNG"), (rgba, "WEBP"), (palette, "PNG"), (see_through_palette, "PNG"), (cmyk, "JPEG")]
)
def test_a_picture_of_any_mode_is_looked_at(make: Callable[[], Image.Image], format: str, detect: Detect) -> None:
    assert middle(detect(image=encoded(make(), format), model_id="tiny-red")) == pytest.approx(PLACE, abs=2)


@pytest.mark.parametrize("mode", ["I;16", "L", "1", "LA"])
def test_a_picture_in_grey_is_looked_at(mode: str, detect: Detect) -> None:
    grey = Image.fromarray(np.full((SIDE, SIDE), 30_000, np.uint16)) if mode == "I;16" else blank().convert(mode)
    assert detect(image=encoded(grey), model_id="tiny-red").result["detections"] == []


def test_on_a_blank_picture_nothing_is_found_and_that_is_no_error(detect: Detect, client: Client) -> None:
    job = detect(model_id="tiny-red", annotate=True)
    assert job.result["detections"] == []
    assert job.result["annotated"]["width"] >= SIDE
    assert client.get(f"/api/jobs/{job.pk}/").json()["status"] == "succeeded"


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
@pytest.mark.parametrize("model", ["tiny-red", "tiny-yolo", "tiny-detr"])
def test_a_picture_of_any_size_is_looked_at(size: tuple[int, int], model: str, detect: Detect) -> None:
    job = detect(image=encoded(blank(size)), model_id=model, annotate=True, threshold=0.1)
    assert (job.result["width"], job.result["height"]) == size
    for one in job.result["detections"]:
        box = one["box"]
        assert 0 <= box["xmin"] <= box["xmax"] <= size[0]
        assert 0 <= box["ymin"] <= box["ymax"] <= size[1]


def animated() -> bytes:
    buffer = io.BytesIO()
    blank().save(buffer, "WEBP", save_all=True, append_images=[blank(colour="red")])
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG that claims 60,000 × 60,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def cut_off() -> bytes:
    buffer = io.BytesIO()
    scene().save(buffer, "JPEG")
    return buffer.getvalue()[:300]


@pytest.mark.parametrize(
    ("data", "code"),
    [(animated, "animated"), (bomb, "too_many_pixels"), (cut_off, "damaged_image"), (lambda: b"hello", "not_an_image")],
)
def test_what_is_no_picture_is_a_400_that_names_the_field(
    data: Callable[[], bytes], code: str, client: Client, loader: Any
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    reply = client.post("/api/detect/", {"image": SimpleUploadedFile("a.png", data())}, headers=ASYNC)
    assert reply.status_code == 400
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == ("image", code)


def test_a_picture_by_its_address_is_refused_where_that_is_not_allowed(post: Callable[..., Any], loader: Any) -> None:
    reply = post({"image": "https://example.org/a.png"})
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "url_not_allowed")


@pytest.mark.parametrize("label", ["mèo", "đèn giao thông 🚦", "x" * 300, "禁止"])
def test_labels_of_any_script_and_length_come_through(label: str, detect: Detect, loader: Any, settings: Any) -> None:
    from dataclasses import replace

    entry = loader.catalog.models["tiny-yolo"]
    loader.catalog.models["tiny-yolo"] = replace(entry, classes=(label, "b", "c"))
    try:
        job = detect(annotate=True)
    finally:
        loader.catalog.models["tiny-yolo"] = entry
    assert job.result["detections"][0]["label"] == label
