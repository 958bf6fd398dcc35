"""An owner's OCR server, by PaddleX's protocol: what it is sent, what is made of its answer, and how it can fail."""

import base64
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.errors import DarkroomError
from api.jobs.models import Job
from api.vision.backends.ocr.remote import RemoteReader
from tests.vision.conftest import encoded, work
from tests.vision.ocr import draw_line
from tests.vision.ocr_server import POLYGONS, OcrServer, answer_of

PICTURE = draw_line("First line")
Post = Callable[..., Any]
Read = Callable[[], Any]


@pytest.fixture
def server() -> Iterator[OcrServer]:
    with OcrServer().running() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def read(server: OcrServer, waits: list[float]) -> Iterator[Callable[[], Any]]:
    with RemoteReader(server.url, "key", timeout=1.0, sleep=waits.append) as reader:
        yield lambda: reader(PICTURE, ["en"])


def test_the_server_gets_the_picture_as_it_is_and_the_key(server: OcrServer, read: Read) -> None:
    read()
    [call] = server.calls
    body = call["body"]
    assert call["path"] == "/secret-path/ocr"
    assert call["headers"]["Authorization"] == "Bearer key"
    with Image.open(io.BytesIO(base64.b64decode(body.pop("file")))) as sent:
        assert list(sent.get_flattened_data()) == list(PICTURE.get_flattened_data())
    assert body == {
        "fileType": 1, "useDocOrientationClassify": False, "useDocUnwarping": False, "useTextlineOrientation": False,
        "visualize": False,
    }  # fmt: skip


def test_its_lines_come_in_reading_order(read: Read) -> None:
    found = read()
    assert [(line.text, line.score, line.engine) for line in found.lines] == [
        ("First line", 0.99, "remote"), ("Second line", 0.91, "remote")
    ]  # fmt: skip
    assert found.lines[0].polygon == tuple(map(tuple, POLYGONS[1]))
    assert found.warnings == []


def test_a_picture_without_text_has_no_lines(server: OcrServer, read: Read) -> None:
    server.script = [answer_of((), (), ())]
    assert read().lines == []


def test_an_address_may_end_with_the_operation(server: OcrServer) -> None:
    with RemoteReader(f"{server.url}/ocr/", "", timeout=1.0) as reader:
        reader(PICTURE, ["en"])
    assert server.calls[0]["path"] == "/secret-path/ocr"
    assert "Authorization" not in server.calls[0]["headers"]


def test_what_may_pass_is_tried_again(server: OcrServer, read: Read, waits: list[float]) -> None:
    server.script = [503, 500]
    assert len(read().lines) == 2
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize(
    ("script", "code", "status", "calls"),
    [
        ([401], "remote_unauthorized", 502, 1),
        ([403], "remote_forbidden", 502, 1),
        ([404], "remote_not_found", 502, 1),
        ([413], "remote_refused", 400, 1),
        ([422], "remote_refused", 400, 1),
        ([302], "remote_failed", 502, 1),
        ([429] * 3, "remote_busy", 503, 3),
        ([503] * 3, "remote_busy", 503, 3),
        ([500] * 3, "remote_failed", 502, 3),
        ([1.5] * 3, "remote_timeout", 504, 3),
        ([{"errorCode": 500, "errorMsg": "words of the server"}], "remote_failed", 502, 1),
        ([b"<html>"], "remote_bad_answer", 502, 1),
        ([b"[]"], "remote_bad_answer", 502, 1),
        ([{"errorCode": 0}], "remote_bad_answer", 502, 1),
        ([answer_of(scores=(1,))], "remote_bad_answer", 502, 1),
        ([answer_of(scores=("x", 1))], "remote_bad_answer", 502, 1),
        ([answer_of(scores=(float("nan"), 1))], "remote_bad_answer", 502, 1),
        ([answer_of(texts=(1, 2))], "remote_bad_answer", 502, 1),
        ([answer_of(polygons=([[1, 2]], [[1, 2]]))], "remote_bad_answer", 502, 1),
        ([answer_of(polygons=([[1, 2, 3]] * 4, [[1, 2]] * 4))], "remote_bad_answer", 502, 1),
        ([answer_of(polygons=([[float("inf"), 2]] * 4, [[1, 2]] * 4))], "remote_bad_answer", 502, 1),
    ],
)
def test_a_failure_is_an_error_in_our_words(
    server: OcrServer,
    read: Read,
    caplog: pytest.LogCaptureFixture,
    script: list[Any],
    code: str,
    status: int,
    calls: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = list(script)
    with pytest.raises(DarkroomError) as failed:
        read()
    assert (failed.value.code, failed.value.status, len(server.calls)) == (code, status, calls)
    logged = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("darkroom"))
    assert "secret-path" not in failed.value.detail + logged
    assert "words of the server" not in failed.value.detail


def test_a_server_that_is_not_there_is_an_error() -> None:
    with (
        RemoteReader("http://127.0.0.1:9", "", timeout=1.0, sleep=lambda seconds: None) as reader,
        pytest.raises(DarkroomError) as failed,
    ):
        reader(PICTURE, ["en"])
    assert (failed.value.code, failed.value.status) == ("remote_unreachable", 502)


# ---------------------------------------------------------------- through the API


@pytest.mark.django_db(transaction=True)
def test_a_job_names_the_server_as_its_model(
    server: OcrServer, post: Post, settings: Any, client: Client, tmp_path: Any
) -> None:
    settings.OCR_REMOTE_URL, settings.MEDIA_ROOT = server.url, tmp_path
    reply = post({"image": encoded(PICTURE), "model_id": "remote-ocr"}, "/api/ocr/")
    assert reply.status_code == 202, reply.content
    work()
    job = Job.objects.get(pk=reply.json()["id"])
    assert (job.status, job.model_id, job.result["text"]) == ("succeeded", "remote-ocr", "First line\nSecond line")
    settings.DEFAULT_OCR_MODEL = "remote-ocr"
    listed = {one["code"]: one for one in client.get("/api/ocr/languages/").json()}
    assert (listed["zh"]["available"], listed["zh"]["engine"], listed["vi"]["available"]) == (True, "remote", False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("url", "fields", "field", "code"),
    [
        ("", {}, "model_id", "unknown_model"),
        ("http://127.0.0.1:9", {"languages": ["vi"]}, "languages", "language_not_installed"),
    ],
)
def test_what_the_server_is_not_there_for_is_a_400(
    post: Post, settings: Any, tmp_path: Any, url: str, fields: dict[str, Any], field: str, code: str
) -> None:
    settings.OCR_REMOTE_URL, settings.MEDIA_ROOT = url, tmp_path
    reply = post({"image": encoded(PICTURE), "model_id": "remote-ocr", **fields}, "/api/ocr/")
    assert reply.status_code == 400
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
