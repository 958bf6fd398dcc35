"""Each field of A1111's bodies: what is too large, what is spelt wrong, what is ours beside them."""

from typing import Any

import pytest
from django.test import Client
from PIL import Image
from rest_framework import serializers

from api.access.scopes import LOCAL
from api.dialects.a1111.extras import BatchFields, SingleFields
from api.dialects.a1111.fields import Img2ImgFields, LenientFields, PictureField, Txt2ImgFields
from api.dialects.a1111.urls import LISTS
from api.dialects.models import A1111Options
from api.files.formats import FORMATS
from api.jobs.models import Job
from tests.dialects.a1111.conftest import encoded

pytestmark = pytest.mark.django_db(transaction=True)
SQUARE = encoded(Image.new("RGB", (64, 64), "blue"))
TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"
INTERROGATE = "/sdapi/v1/interrogate"
BODIES: dict[str, tuple[type[LenientFields], dict[str, Any]]] = {
    TXT2IMG: (Txt2ImgFields, {"prompt": "a lake", "enable_hr": True}),
    IMG2IMG: (Img2ImgFields, {"prompt": "a lake", "init_images": [SQUARE], "mask": SQUARE}),
    SINGLE: (SingleFields, {"image": SQUARE, "upscaler_1": "Lanczos", "resize_mode": 1}),
    BATCH: (BatchFields, {"imageList": [{"data": SQUARE}], "upscaler_1": "Lanczos", "resize_mode": 1}),
}
HOOK = {"url": "https://example.com/hook", "events": ["started", "completed"]}


def post(client: Client, path: str, **fields: Any) -> tuple[int, Any]:
    body = {**BODIES[path][1], **fields} if path in BODIES else fields
    reply = client.post(path, body, content_type="application/json", headers={"Prefer": "respond-async"})
    return reply.status_code, reply.json()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["large", "small"])
def test_a_number_that_no_float_holds_is_refused_by_its_name(client: Client, path: str, value: int) -> None:
    fields = BODIES[path][0]().fields
    numbers = [name for name, one in fields.items() if isinstance(one, serializers.IntegerField | serializers.FloatField)]
    assert len(numbers) > 5
    status, body = post(client, path, **dict.fromkeys(numbers, value))
    assert status == 422, body
    assert sorted(error["loc"][1] for error in body["detail"]) == sorted(numbers)


@pytest.mark.parametrize("fields", [Img2ImgFields, SingleFields, BatchFields])
def test_pictures_are_no_text_whose_characters_are_looked_at_one_by_one(fields: type[LenientFields]) -> None:
    pictures = {
        name: field for name, field in fields().fields.items() if name in ("init_images", "mask", "latent_mask", "image")
    }
    inner = [getattr(field, "child", field) for field in pictures.values()]
    inner += [fields().fields["imageList"].child.fields["data"]] if fields is BatchFields else []
    assert inner
    assert all(isinstance(field, PictureField) for field in inner)


@pytest.mark.parametrize("path", [*BODIES, INTERROGATE])
def test_a_webhook_may_stand_beside_the_fields(client: Client, path: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    sent = {"image": SQUARE} if path == INTERROGATE else {}
    status, body = post(client, path, webhook=HOOK, **sent)
    assert status == 202, body
    job = Job.objects.get()
    assert job.webhook == {**HOOK, "origin": "http://testserver"}
    status, body = post(client, path, webhook={"url": "http://127.0.0.1/hook"}, **sent)
    assert status == 422
    assert [error["loc"] for error in body["detail"]] == [["body", "webhook", "url"]]


def test_where_there_is_no_job_a_webhook_is_refused(client: Client) -> None:
    status, body = post(client, SINGLE, upscaler_1="None", webhook=HOOK)
    assert (status, body["detail"][0]["loc"]) == (422, ["body", "webhook"])


@pytest.mark.parametrize("path", [TXT2IMG, IMG2IMG])
def test_an_unknown_field_has_no_effect_and_is_told(client: Client, path: str) -> None:
    assert post(client, path, cfgscale=3, cfg_skale=None)[0] == 202
    [sentence] = [one for one in Job.objects.get().warnings if one.startswith("cfg")]
    assert sentence.startswith("cfgscale has no effect: Unknown field. Did you mean 'cfg_scale'")


@pytest.mark.parametrize(("schedule", "is_told"), [("Karras", True), ("Automatic", False), ("", False)])
def test_a_noise_schedule_without_a_sampler_is_told(client: Client, schedule: str, is_told: bool) -> None:
    assert post(client, TXT2IMG, scheduler=schedule)[0] == 202
    assert any(one.startswith("scheduler has no effect") for one in Job.objects.get().warnings) == is_told


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"n_iter": 17}, "n_iter"),
        ({"batch_size": 17}, "batch_size"),
        ({"hr_resize_x": 10**6}, "hr_resize_x"),
        ({"firstphase_width": 8, "firstphase_height": 64, "width": 16, "height": 128}, "firstphase_width"),
        ({"alwayson_scripts": {"controlnet": {"args": ["canny"]}}}, "alwayson_scripts.controlnet.args.0"),
        ({"override_settings": {"samples_format": "gif"}}, "override_settings.samples_format"),
    ],
)
def test_an_error_names_the_field_that_was_sent(client: Client, fields: dict[str, Any], place: str) -> None:
    status, body = post(client, TXT2IMG, **fields)
    assert status == 422, body
    assert ".".join(map(str, body["detail"][0]["loc"])) == f"body.{place}"


def test_an_unknown_model_has_its_code_in_override_settings_too(client: Client) -> None:
    _, body = post(client, TXT2IMG, override_settings={"sd_model_checkpoint": "no-such"})
    assert body["detail"][0]["type"] == "unknown_model"


@pytest.mark.parametrize("enabled", [False, "false", "False", 0, None])
def test_a_unit_that_is_switched_off_does_nothing(client: Client, enabled: object) -> None:
    unit = {"enabled": enabled, "image": SQUARE, "module": "canny"}
    assert post(client, TXT2IMG, alwayson_scripts={"controlnet": {"args": [unit, None]}})[0] == 202
    assert not Job.objects.get().params.get("control")


def test_one_fault_is_told_once(client: Client) -> None:
    """Both sides of ours are one factor of theirs."""
    status, body = post(client, SINGLE, resize_mode=0, upscaling_resize=0.001)
    assert (status, len(body["detail"])) == (422, 1)


def test_a_chosen_model_that_is_gone_leaves_every_list_readable(client: Client) -> None:
    A1111Options.objects.create(owner_key=LOCAL.owner_key, values={"sd_model_checkpoint": "gone"})
    for name in [*LISTS, "options", "progress"]:
        assert client.get(f"/sdapi/v1/{name}").status_code == 200, name
    status, body = post(client, TXT2IMG)
    assert (status, body["detail"][0]["loc"]) == (422, ["body", "options", "sd_model_checkpoint"])
    for name in ("reload-checkpoint", "unload-checkpoint"):
        reply = client.post(f"/sdapi/v1/{name}", content_type="application/json")
        assert (reply.status_code, "gone" in reply.json()["errors"]) == (422, True)


def test_every_format_that_is_written_here_can_be_chosen(client: Client) -> None:
    for name in FORMATS:
        assert post(client, TXT2IMG, override_settings={"samples_format": name})[0] == 202, name
    assert [job.params["output_format"] for job in Job.objects.order_by("pk")] == list(FORMATS)
