"""What enlarging refuses, and how it says so."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from api.jobs.models import Job
from api.model_loader import ModelLoader
from tests.upscaling.test_upscale_api import scene
from tests.vision.conftest import encoded

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"scale": 1}, "scale", "min_value"),
        ({"scale": 5}, "scale", "max_value"),
        ({"scale": 2.5}, "scale", "invalid"),
        ({"model_id": "lanczo"}, "model_id", "unknown_model"),
        ({"model_id": "starter"}, "model_id", "wrong_task"),
        ({"output_format": "gif"}, "output_format", "invalid_choice"),
        ({"image": "!"}, "image", "not_base64"),
        ({"image": str(uuid.uuid4())}, "image", "not_found"),
        ({"prompt": "x"}, "prompt", "unknown_field"),
    ],
)
def test_a_request_that_is_not_valid_is_a_400_that_names_the_field(
    post: Callable[..., Any], loader: ModelLoader, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = post({"image": encoded(scene()), **fields})
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_an_unknown_model_names_those_that_there_are(post: Callable[..., Any], loader: ModelLoader) -> None:
    [error] = post({"image": encoded(scene()), "model_id": "starter"}).json()["errors"]
    assert "its task is text-to-image" in error["detail"]
    assert "lanczos" in error["detail"]


def test_more_pixels_than_the_server_makes_are_a_400_of_the_scale(
    post: Callable[..., Any], loader: ModelLoader, settings: Any
) -> None:
    settings.MAX_UPSCALED_PIXELS = 40 * 24 * 9
    assert post({"image": encoded(scene()), "scale": 3, "model_id": "lanczos"}).status_code == 202
    [error] = post({"image": encoded(scene()), "scale": 4, "model_id": "lanczos"}).json()["errors"]
    assert (error["field"], error["code"]) == ("scale", "too_large")
    assert "40 × 24 enlarged by 4" in error["detail"]


def test_a_side_that_the_format_can_not_hold_is_a_400_before_any_work(post: Callable[..., Any], loader: ModelLoader) -> None:
    wide = encoded(Image.new("RGB", (20000, 10)))
    [error] = post({"image": wide, "scale": 4, "output_format": "jpeg", "model_id": "lanczos"}).json()["errors"]
    assert (error["field"], error["code"]) == ("output_format", "too_large")
    assert "80000 × 40" in error["detail"]


@pytest.mark.parametrize(
    ("model_id", "status", "words"),
    [("tiny-lacking", 422, "it lacks the tensor conv_hr.bias"), ("tiny-gone", 502, "The file of tiny-gone is not there")],
)
def test_a_file_that_can_not_be_used_fails_the_job_in_words(
    upscale: Callable[..., Job], model_id: str, status: int, words: str
) -> None:
    job = upscale(image=encoded(scene()), model_id=model_id)
    assert (job.status, job.error["status"]) == ("failed", status)
    assert words in job.error["detail"]
