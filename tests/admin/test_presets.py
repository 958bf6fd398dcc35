"""Presets in the admin: made, changed as versions, and refused with the field and the reason."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from api.images.models import Preset
from api.images.presets.services import create_preset

pytestmark = pytest.mark.django_db
ADD = "/admin/images/preset/add/"


def form(**fields: Any) -> dict[str, Any]:
    request = fields.pop("request", {"prompt": "a photograph of {prompt}", "steps": 7})
    return {"name": "shot", "description": "", "shared": "on", "request": json.dumps(request), "parameters": "steps", **fields}


def texts(reply: Any) -> str:
    return re.sub(r"<[^>]*>", " ", reply.content.decode())


def test_one_is_made_and_shown_with_how_to_use_it(staff: Client) -> None:
    assert staff.post(ADD, form()).status_code == 302
    preset = Preset.objects.get()
    version = preset.versions.get()
    assert (preset.name, preset.shared, preset.last_version, version.parameters) == ("shot", True, 1, ["steps"])
    page = staff.get(reverse("admin:images_preset_change", args=[preset.pk])).content.decode()
    assert "&quot;preset&quot;: &quot;shot&quot;" in page
    assert "&quot;preset&quot;: &quot;shot@1&quot;" in page
    assert "shot" in staff.get("/admin/images/preset/").content.decode()


def test_a_change_is_a_new_version_and_the_earlier_ones_are_shown(staff: Client) -> None:
    staff.post(ADD, form())
    preset = Preset.objects.get()
    change = reverse("admin:images_preset_change", args=[preset.pk])
    changed = form(request={"prompt": "a drawing of {prompt}"}, parameters="", description="drawn")
    assert staff.post(change, changed).status_code == 302
    preset.refresh_from_db()
    assert (preset.last_version, preset.description, preset.versions.count()) == (2, "drawn", 2)
    page = staff.get(change).content.decode()
    assert "a photograph of {prompt}" in page
    assert "a drawing of {prompt}" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"request": {"stepps": 3}}, "stepps: Unknown field."),
        ({"request": {"image": "x"}}, "image: A preset holds no pictures"),
        ({"request": ["a"]}, "Must be a JSON object."),
        ({"request": {"prompt": "a"}, "parameters": "steps"}, "no field that this preset sets"),
        ({"name": "two words"}, "slug"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(staff: Client, fields: dict[str, Any], said: str) -> None:
    reply = staff.post(ADD, form(**fields))
    assert reply.status_code == 200
    assert said in texts(reply)
    assert not Preset.objects.exists()


def test_rubbish_is_no_json(staff: Client) -> None:
    for rubbish in ("{", "[" * 100_000):
        assert "Must be JSON" in texts(staff.post(ADD, {**form(), "request": rubbish}))


def test_a_name_is_shared_once(staff: Client) -> None:
    create_preset(name="shot", owner_key="someone", request={"steps": 3}, shared=True)
    assert "There is a shared preset with this name" in texts(staff.post(ADD, form()))
    fields = form()
    del fields["shared"]
    assert staff.post(ADD, fields).status_code == 302
    assert "You have a preset with this name" in texts(staff.post(ADD, fields))


def test_one_is_deleted_with_its_versions(staff: Client) -> None:
    staff.post(ADD, form())
    staff.post(reverse("admin:images_preset_delete", args=[Preset.objects.get().pk]), {"post": "yes"})
    assert not Preset.objects.exists()
