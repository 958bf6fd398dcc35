"""What can't be scored is a 400 that names the field."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.files.decoding import encode_png
from api.files.services import store_upload
from api.jobs.models import Job
from tests.scoring.conftest import ASYNC, encoded, poster

pytestmark = pytest.mark.django_db(transaction=True)  # pictures are taken in from a thread of their own
BOX = {"kind": "text", "x": 10, "y": 10, "w": 100, "h": 50}
IMAGE = encoded(poster())


@pytest.fixture(autouse=True)
def own_media(media: Path) -> None:
    """Uploads go to the test's own folder."""


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({}, "image", "nothing to score"),
        ({"variant": {}, "event_data": {"title": ""}}, "image", "nothing to score"),
        ({"image": "no base64!"}, "image", "base64"),
        ({"event_data": {"title": "a"}, "backend": "guesswork"}, "backend", "heuristic"),
        ({"event_data": {"title": "a"}, "backend": "heuristics"}, "backend", "Did you mean 'heuristic'?"),
        ({"event_data": {"title": "x" * 10_001}}, "event_data.title", "10000"),
        ({"event_data": {"title": "a", "venue": "b"}}, "event_data.venue", "Unknown field"),
        ({"eventData": {"title": "a"}}, "eventData", "Did you mean 'event_data'?"),
        ({"variant": {"gradient": "x" * 1001}}, "variant.gradient", "1000"),
        ({"variant": "[1"}, "variant", "JSON"),
        ({"variant": 7}, "variant", ""),
        ({"variant": {"gradient": {"a": 1}}}, "variant.gradient", "string"),
        ({"event_data": {"title": "a"}, "elements": [BOX]}, "elements", "there is none"),
        ({"image": IMAGE, "elements": [{**BOX, "x": 640}]}, "elements.0.x", "outside the picture, which is 640 × 400"),
        ({"image": IMAGE, "elements": [BOX, {**BOX, "y": -51}]}, "elements.1.y", "outside"),
        ({"image": IMAGE, "elements": [{**BOX, "w": 0}]}, "elements.0.w", "no area"),
        ({"image": IMAGE, "elements": [{**BOX, "h": -5}]}, "elements.0.h", "0"),
        ({"image": IMAGE, "elements": [{**BOX, "x": "nan"}]}, "elements.0.x", "number"),
        ({"image": IMAGE, "elements": [{**BOX, "x": 1e300}]}, "elements.0.x", "100000"),
        ({"image": IMAGE, "elements": [{"x": 1, "y": 1}]}, "elements.0.w", "required"),
        ({"image": IMAGE, "elements": [BOX] * 201}, "elements", "200"),
        ({"image": IMAGE, "elements": {"x": 1}}, "elements", ""),
        ({"image": IMAGE, "deep": "perhaps"}, "deep", ""),
    ],
)
def test_the_field_is_named(post: Callable[..., Any], body: dict[str, Any], field: str, said: str) -> None:
    reply = post(body)
    assert (reply.status_code, reply["Content-Type"]) == (400, "application/problem+json"), reply.content
    errors = {error["field"]: error["detail"] for error in reply.json()["errors"]}
    assert said in next(detail for name, detail in errors.items() if name.startswith(field)), errors
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": [{"event_data": {"title": "a"}}] * 65}, "items"),
        ({"items": [{"event_data": {"title": "a"}}, {}]}, "items.1.image"),
        ({"items": [{"event_data": {"title": "a"}, "backend": "heuristic"}]}, "items.0.backend"),
        ({"items": "all"}, "items"),
        ({"items": [7]}, "items.0"),
        ({"items": [{"event_data": {"title": "a"}}], "backend": "x"}, "backend"),
    ],
)
def test_the_item_of_a_batch_is_named(post: Callable[..., Any], body: dict[str, Any], field: str) -> None:
    reply = post(body, "/api/score/batch/")
    assert reply.status_code == 400, reply.content
    assert any(error["field"].startswith(field) for error in reply.json()["errors"]), reply.json()


def test_a_box_that_reaches_past_the_edge_is_taken(post: Callable[..., Any]) -> None:
    assert post({"image": IMAGE, "elements": [{**BOX, "x": -20, "w": 700}]}).status_code == 202


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        ("/api/score/", "image", lambda image: {"image": image}),
        ("/api/score/batch/", "items.0.image", lambda image: {"items": [{"image": image}]}),
        ("/api/clip-score/", "images.0", lambda image: {"images": [image], "prompts": ["a boat"]}),
        ("/api/img2img/", "image", lambda image: {"image": image, "prompt": "a boat"}),
        ("/api/ratings/", "image", lambda image: {"image": image, "rating": 4}),
    ],
)
def test_anothers_image_in_a_body_is_answered_as_one_that_is_not_there(
    client: Client, path: str, field: str, body: Callable[[str], dict[str, Any]]
) -> None:
    """400 with the field named: 404 is for addresses. Nobody learns what there is of others."""
    _, token = create_key(name="asker")
    theirs = store_upload(owner_key="somebody", data=encode_png(poster()))
    headers = {**ASYNC, "Authorization": f"Bearer {token}"}
    identifiers = (str(theirs.pk), str(uuid.uuid4()))
    replies = [client.post(path, body(one), content_type="application/json", headers=headers) for one in identifiers]
    theirs_told, unknown = [(reply.status_code, reply.json()["detail"], reply.json()["errors"]) for reply in replies]
    assert theirs_told == unknown
    assert (unknown[0], [(error["field"], error["code"]) for error in unknown[2]]) == (400, [(field, "not_found")])


def test_a_body_that_is_no_object_is_refused(client: Client) -> None:
    for path in ("/api/score/", "/api/score/batch/"):
        reply = client.post(path, [1, 2], content_type="application/json", headers=ASYNC)
        assert reply.status_code == 400
