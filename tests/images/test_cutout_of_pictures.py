"""`cutout` of a request for pictures: what it may say. tests/dialects/openai shows pictures that were made with it."""

from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from api.runtime.subject_cutting import get_cutter

pytestmark = pytest.mark.django_db(transaction=True)


def post(client: Client, **fields: Any) -> Any:
    body = {"prompt": "a lake", **fields}
    return client.post("/api/txt2img/", body, content_type="application/json", headers={"Prefer": "respond-async"})


def test_the_usual_model_is_taken_and_written_down(client: Client) -> None:
    params = post(client, cutout={}).json()["params"]
    assert params["cutout"] == {"model_id": "starter-cutout"}
    assert post(client, **params).json()["params"] == params


def test_it_is_part_of_a_grid_and_of_a_form(client: Client) -> None:
    reply = client.post("/api/txt2img/", {"prompt": "a lake", "cutout": "{}"}, headers={"Prefer": "respond-async"})
    assert reply.json()["params"]["cutout"] == {"model_id": "starter-cutout"}
    grid = {"request": {"prompt": "a lake", "cutout": {}}, "axes": [{"field": "steps", "values": [4, 8]}]}
    reply = client.post("/api/grids/", grid, content_type="application/json", headers={"Prefer": "respond-async"})
    assert reply.status_code == 202, reply.content


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"cutout": {}, "output_format": "jpeg"}, "output_format", "no_transparency"),
        ({"cutout": {"model_id": "starter"}}, "cutout.model_id", "wrong_task"),
        ({"cutout": {"model_id": "no-such-model"}}, "cutout.model_id", "unknown_model"),
        ({"cutout": {"shape": "round"}}, "cutout.shape", "unknown_field"),
        ({"cutout": {"classes": []}}, "cutout.classes", "min_length"),
        ({"cutout": True}, "cutout", "invalid"),
    ],
)
def test_what_cannot_be_done_is_refused(client: Client, fields: dict[str, Any], field: str, code: str) -> None:
    reply = post(client, **fields)
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_the_default_must_find_a_subject_itself(client: Client, settings: Any) -> None:
    settings.DEFAULT_CUTOUT_MODEL = "starter"
    [error] = post(client, cutout={}).json()["errors"]
    assert (error["field"], error["code"]) == ("cutout", "wrong_task")


def test_the_quality_of_a_file_without_loss_has_no_effect(client: Client) -> None:
    assert any("output_quality" in warning for warning in post(client, output_quality=50).json()["warnings"])
    assert post(client, output_quality=50, output_format="webp").json()["warnings"] == []


def test_classes_that_a_model_does_not_know_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from api.vision.backends.cutout.run_cutout import Masks

    masks = Masks([np.ones((8, 8), np.float32)], [], uses_classes=False)
    monkeypatch.setattr("api.vision.backends.cutout.run_cutout.find_masks", lambda *asked: masks)
    monkeypatch.setattr("api.model_loader.get_loader", lambda: None)
    told: list[str] = []
    for classes in (("unicorn",), None):
        get_cutter().cut_out([Image.new("RGB", (8, 8))], "starter-cutout", classes, lambda fraction, text: None, told.append)
    assert told == ["cutout.classes has no effect with starter-cutout."]
