"""POST /api/ocr/: what it reads, what it keeps, what it refuses; by the shipped models in a worker."""

import io
import socket
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image

from api import model_loader
from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.model_loader import ModelLoader
from api.vision.ocr import installed
from benchmarks.ocr_pages import draw_page, draw_sign
from tests.rows import make_picture
from tests.vision.conftest import blank, encoded, loader_of, work
from tests.vision.ocr import HAS_TESSERACT, draw_line, needs_tesseract

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
Ocr = Callable[..., Job]
TEXT = "Platform 12 to Hanoi"


@pytest.fixture(scope="module")
def kept() -> dict[str, ModelLoader]:
    """The loader of the first test: its model stays in memory for the others."""
    return {}


@pytest.fixture
def loader(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, kept: dict[str, ModelLoader]
) -> Iterator[ModelLoader]:
    (tmp_path / "catalog.toml").write_text("")
    for first in loader_of(tmp_path / "catalog.toml", settings, tmp_path, monkeypatch):
        monkeypatch.setattr(model_loader, "_loader", kept.setdefault("loader", first))
        yield kept["loader"]


@pytest.fixture
def run_ocr(run: Ocr) -> Ocr:
    def send(picture: Image.Image | str, **fields: Any) -> Job:
        return run({"image": picture if isinstance(picture, str) else encoded(picture), **fields}, "/api/ocr/")

    return send


@pytest.fixture
def ocr(run_ocr: Ocr) -> Ocr:
    def send(picture: Image.Image | str, **fields: Any) -> Job:
        job = run_ocr(picture, **fields)
        assert job.status == "succeeded", job.error
        return job

    return send


@pytest.fixture
def without_tesseract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_tesseract", lambda: None)


def test_an_english_line_is_read_with_its_place(ocr: Ocr) -> None:
    job = ocr(draw_line(TEXT))
    assert (job.result["width"], job.result["height"], job.result["text"]) == (420, 90, TEXT)
    [line] = job.result["lines"]
    assert (line["text"], line["engine"]) == (TEXT, "pp-ocr")
    assert line["score"] > 0.9
    assert len(line["polygon"]) == 4
    box = line["box"]
    assert 10 < box["xmin"] < 25 < 300 < box["xmax"] < 420
    assert 15 < box["ymin"] < 40 < 50 < box["ymax"] < 75
    assert job.warnings == []


@pytest.mark.parametrize(("size", "at"), [((1600, 1000), (900, 700)), ((500, 300), (60, 240)), ((1600, 1000), (0, 0))])
def test_a_line_anywhere_on_an_empty_page_has_its_own_place(ocr: Ocr, size: tuple[int, int], at: tuple[int, int]) -> None:
    [line] = ocr(draw_line(TEXT, size, at=at)).result["lines"]
    assert line["text"] == TEXT
    box = line["box"]
    assert abs(box["xmin"] - at[0]) < 10
    assert abs(box["ymin"] - at[1]) < 14
    assert 300 < box["xmax"] - box["xmin"] < 400


def test_a_page_is_read_line_by_line_in_its_order(ocr: Ocr) -> None:
    page = draw_page("en", 1, lines=8)
    assert [line["text"] for line in ocr(page.image).result["lines"]] == page.lines


@needs_tesseract
def test_vietnamese_is_read_by_tesseract_in_nfc(ocr: Ocr) -> None:
    page = draw_page("vi", 1, lines=8)
    result = ocr(page.image, languages=["vi"]).result
    assert result["text"].splitlines() == page.lines
    assert result["text"] == unicodedata.normalize("NFC", result["text"])
    assert {line["engine"] for line in result["lines"]} == {"tesseract"}


@needs_tesseract
def test_tilted_noisy_signs_are_read(ocr: Ocr) -> None:
    signs = [draw_sign(seed) for seed in range(500, 506)]
    found = [set(ocr(sign.image, languages=["vi"]).result["text"].splitlines()) for sign in signs]
    right = sum(line in lines for sign, lines in zip(signs, found, strict=True) for line in sign.lines)
    assert right >= 0.7 * sum(len(sign.lines) for sign in signs)


@pytest.mark.parametrize(("language", "lines"), [("en", [TEXT]), ("vi", ["Ga Hà Nội", "Đường sắt Việt Nam"])])
def test_what_stands_upside_down_is_read_in_its_order(ocr: Ocr, language: str, lines: list[str]) -> None:
    if language == "vi" and not HAS_TESSERACT:
        pytest.skip("Tesseract is not installed")
    page = Image.new("RGB", (460, 60 * len(lines) + 40), "white")
    for row, text in enumerate(lines):
        page.paste(draw_line(text, (420, 60), at=(20, 10)), (20, 20 + 60 * row))
    result = ocr(page.rotate(180), languages=[language]).result
    assert result["text"].splitlines() == lines
    begin, end = result["lines"][0]["polygon"][:2]
    assert begin[0] > end[0]  # the first letter stands on the right


@pytest.mark.parametrize("ink", ["white", "#ffe000", "black", "#2020a0"])
def test_text_on_transparency_is_read_whatever_its_colour(ocr: Ocr, ink: str) -> None:
    shape = draw_line(TEXT).convert("L").point(lambda value: 255 - value)
    picture = Image.new("RGBA", shape.size, ink)
    picture.putalpha(shape)
    assert ocr(picture).result["text"] == TEXT


def test_lines_below_min_score_are_left_out(ocr: Ocr) -> None:
    assert ocr(draw_line(TEXT), min_score=1).result["lines"] == []
    assert len(ocr(draw_line(TEXT), min_score=0).result["lines"]) == 1


# ---------------------------------------------------------------- pictures of every kind


@pytest.mark.parametrize(
    "picture",
    [blank((300, 300)), blank((1, 1)), Image.new("RGB", (640, 480), (30, 60, 90)), blank((3, 4000))],
    ids=["white", "one-pixel", "blue", "narrow"],
)
def test_a_picture_without_text_has_none(ocr: Ocr, picture: Image.Image) -> None:
    result = ocr(picture).result
    assert (result["text"], result["lines"]) == ("", [])
    assert (result["width"], result["height"]) == picture.size


def test_a_very_long_picture_is_read_coarsely_and_says_so(ocr: Ocr) -> None:
    job = ocr(blank((20000, 10)))
    assert job.result["lines"] == []
    assert ["10% of its size" in warning for warning in job.warnings] == [True]


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_read_as_a_person_sees_it(ocr: Ocr, turn: int) -> None:
    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = draw_line(TEXT)
    stored = upright.transpose(operations[turn]) if turn in operations else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    result = ocr(encoded(stored, "JPEG", quality=95, exif=exif)).result
    assert (result["width"], result["height"], result["text"]) == (420, 90, TEXT)
    assert result["lines"][0]["box"]["xmin"] < 30


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "CMYK", "I;16", "1"])
def test_a_picture_of_any_mode_is_read(ocr: Ocr, mode: str) -> None:
    picture = draw_line(TEXT)
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    sent = encoded(deep if mode == "I;16" else picture.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    assert ocr(sent).result["text"] == TEXT


def test_white_on_black_is_read(ocr: Ocr) -> None:
    assert ocr(Image.fromarray(255 - np.asarray(draw_line(TEXT)))).result["text"] == TEXT


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
def test_a_page_that_lies_on_its_side_is_read_in_its_order(ocr: Ocr, turn: Image.Transpose) -> None:
    page = draw_page("en", 3, lines=3)
    job = ocr(page.image.crop((0, 0, 900, 110)).transpose(turn))
    assert job.result["text"].splitlines() == page.lines


@needs_tesseract
def test_a_page_that_lies_on_its_side_is_read_by_tesseract_too(ocr: Ocr) -> None:
    page = draw_page("vi", 3, lines=3)
    job = ocr(page.image.crop((0, 0, 900, 110)).transpose(Image.Transpose.ROTATE_90), languages=["vi"])
    assert job.result["text"].splitlines() == page.lines


# ---------------------------------------------------------------- languages


def test_a_language_that_can_not_be_read_here_is_a_400_with_the_line_that_installs_it(
    post: Callable[..., Any], loader: ModelLoader, settings: Any, without_tesseract: None
) -> None:
    settings.JOB_RUNNER = "embedded"
    reply = post({"image": encoded(draw_line(TEXT)), "languages": ["vi"]}, "/api/ocr/")
    assert reply.status_code == 400
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == ("languages", "language_not_installed")
    assert "`apt-get install tesseract-ocr tesseract-ocr-vie`" in error["detail"]


def test_a_worker_that_can_not_read_the_language_fails_the_job_with_the_same_400(
    run_ocr: Ocr, settings: Any, without_tesseract: None
) -> None:
    settings.JOB_RUNNER = "external"  # whose machine is another one
    job = run_ocr(draw_line(TEXT), languages=["vi"])
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "language_not_installed", 400)


def test_the_languages_are_listed_with_what_reads_them_here(client: Client, without_tesseract: None) -> None:
    listed = {one["code"]: one for one in client.get("/api/ocr/languages/").json()}
    assert listed["en"] == {
        "code": "en", "name": "English", "available": True, "engine": "pp-ocr", "missing_letters": "", "install": None
    }  # fmt: skip
    assert listed["vi"] == {
        "code": "vi", "name": "Vietnamese", "available": False, "engine": None, "missing_letters": "",
        "install": "apt-get install tesseract-ocr tesseract-ocr-vie",
    }  # fmt: skip


@needs_tesseract
def test_a_language_that_tesseract_reads_is_listed_with_the_letters_it_lacks(client: Client) -> None:
    [vietnamese] = [one for one in client.get("/api/ocr/languages/").json() if one["code"] == "vi"]
    assert (vietnamese["available"], vietnamese["engine"], vietnamese["missing_letters"]) == (True, "tesseract", "Ỵỵ")


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"languages": ["xx"]}, "languages", "unknown_language"),
        ({"languages": []}, "languages", "min_length"),
        ({"languages": "en"}, "languages", "not_a_list"),
        ({"languages": ["en"] * 9}, "languages", "max_length"),
        ({"languages": ["e" * 36]}, "languages.0", "max_length"),
        ({"min_score": "NaN"}, "min_score", "invalid"),
        ({"min_score": -0.1}, "min_score", "min_value"),
        ({"min_score": 1.1}, "min_score", "max_value"),
        ({"model_id": "pp-ocrs"}, "model_id", "unknown_model"),
        ({"model_id": "starter"}, "model_id", "wrong_task"),
        ({"image": "!"}, "image", "not_base64"),
        ({"language": "en"}, "language", "unknown_field"),
    ],
)
def test_a_request_that_is_not_valid_is_a_400_that_names_the_field(
    post: Callable[..., Any], loader: ModelLoader, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = post({"image": encoded(blank()), **fields}, "/api/ocr/")
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_the_params_of_a_job_are_a_request_for_the_same(ocr: Ocr, post: Callable[..., Any]) -> None:
    job = ocr(draw_line(TEXT), languages=["EN", "de-AT", "en"])
    assert job.params == {
        "image": job.params["image"], "model_id": "pp-ocr", "languages": ["en", "de"], "min_score": 0.3, "annotate": False
    }  # fmt: skip
    assert post(job.params, "/api/ocr/").json()["params"] == job.params


def test_the_history_is_searched_by_what_was_read(ocr: Ocr, client: Client) -> None:
    job = ocr(draw_line(TEXT))
    ocr(draw_line("Closed"))
    assert [one["id"] for one in client.get("/api/jobs/?q=Hanoi").json()["results"]] == [str(job.pk)]


def test_an_annotated_picture_has_the_lines_and_is_linked_to_its_source(ocr: Ocr, client: Client) -> None:
    source = make_picture()
    job = ocr(str(source.pk), annotate=True)
    image = GeneratedImage.objects.get(pk=job.result["annotated"]["id"])
    assert (image.origin, list(image.sources.all())) == ("annotated", [source])
    drawn = ocr(draw_line(TEXT, (600, 480), at=(20, 200)), annotate=True)
    shown = client.get(f"/api/jobs/{drawn.pk}/").json()["result"]["annotated"]["url"]
    pixels = np.asarray(Image.open(io.BytesIO(b"".join(client.get(shown)))).convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=2) > 60).sum() > 500  # colours, on a picture that had none


def test_jobs_of_one_model_run_one_after_the_other_and_a_bad_one_fails_by_itself(
    post: Callable[..., Any], loader: ModelLoader
) -> None:
    gone = make_picture()
    pictures = [encoded(draw_line("First")), str(gone.pk), encoded(draw_line("Third"))]
    ids = [post({"image": picture}, "/api/ocr/").json()["id"] for picture in pictures]
    gone.file.delete()
    work()
    jobs = [Job.objects.get(pk=pk) for pk in ids]
    assert [job.status for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert [jobs[0].result["text"], jobs[1].error["code"], jobs[2].result["text"]] == ["First", "file_missing", "Third"]


def test_the_model_is_accounted_and_can_be_unloaded(ocr: Ocr, loader: ModelLoader) -> None:
    ocr(draw_line(TEXT))
    [loaded] = loader.loaded()
    assert (loaded["id"], loaded["pinned"]) == ("pp-ocr", False)
    assert loaded["bytes"] == 9_929_594 + 21_234_383
    assert loader.unload("pp-ocr")


def test_nothing_is_asked_of_the_network(ocr: Ocr, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        raise OSError("no network")

    for name in [name for name in sys.modules if name.split(".")[0] == "rapidocr"]:
        monkeypatch.delitem(sys.modules, name)  # as in a worker that has just started
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert ocr(draw_line(TEXT)).result["text"] == TEXT
    assert [arguments for arguments in asked if not str(arguments[-1]).endswith(".sock")] == []


@pytest.mark.parametrize("files", [("det.onnx",), ("det.onnx", "det2.onnx", "rec.onnx")])
def test_a_folder_without_one_detector_and_one_recogniser_is_refused(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, post: Callable[..., Any], files: tuple[str, ...]
) -> None:
    (tmp_path / "mine").mkdir()
    for name in files:
        (tmp_path / "mine" / name).write_bytes(b"")
    (tmp_path / "catalog.toml").write_text('[models.mine]\ntask = "ocr"\npath = "mine"\n')
    for _ in loader_of(tmp_path / "catalog.toml", settings, tmp_path, monkeypatch):
        settings.JOB_RUNNER = "external"
        reply = post({"image": encoded(draw_line(TEXT)), "model_id": "mine"}, "/api/ocr/")
        work()
        job = Job.objects.get(pk=reply.json()["id"])
        assert (job.status, job.error["code"]) == ("failed", "broken_model")


# ---------------------------------------------------------------- the admin


def test_a_jobs_page_shows_the_lines_over_the_picture(ocr: Ocr, admin_client: Client) -> None:
    job = ocr(draw_line("<Platform> 12"), annotate=True)
    page = admin_client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    assert page.count("<polygon") == 1
    assert "&lt;Platform&gt; 12" in page
    assert reverse("admin:images_generatedimage_change", args=[job.result["annotated"]["id"]]) in page


def test_a_jobs_page_says_where_no_text_was_found(ocr: Ocr, admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:jobs_job_change", args=[ocr(blank((300, 300))).pk])).content.decode()
    assert "No text was found." in page
