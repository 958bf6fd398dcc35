"""What is refused, in A1111's form and with its statuses; and that nothing else comes back, whatever is sent."""

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from api.dialects.a1111.fields import Img2ImgFields, Txt2ImgFields
from api.jobs.models import Job
from tests.dialects.a1111.conftest import encoded

pytestmark = pytest.mark.django_db(transaction=True)
FORM = {"error", "detail", "body", "errors"}
SQUARE = encoded(Image.new("RGB", (64, 64), "blue"))
TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
PLAIN = {"prompt": "a lake"}


def post(client: Client, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    reply = client.post(path, body, content_type="application/json", headers={"Prefer": "respond-async", **headers})
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status_code, reply.json()


def fields_of(body: Any) -> list[list[Any]]:
    assert body.keys() == FORM
    return [error["loc"] for error in body["detail"]]


@pytest.mark.parametrize(
    "fields", [{"sampler_name": "No such"}, {"sampler_index": "No such"}, {"sampler_name": "DPM++ 3M SDE"}]
)
def test_an_unknown_sampler_is_a_400(client: Client, fields: dict[str, Any]) -> None:
    status, body = post(client, TXT2IMG, {**PLAIN, **fields})
    assert (status, body["detail"], body["error"]) == (400, "Sampler not found", "HTTPException")
    assert "sampler_name" in body["errors"]


@pytest.mark.parametrize("fields", [{}, {"init_images": []}, {"init_images": None}, {"init_images": [""]}])
def test_no_picture_to_begin_with_is_a_404(client: Client, fields: dict[str, Any]) -> None:
    status, body = post(client, IMG2IMG, {**PLAIN, **fields})
    assert (status, body["detail"]) == (404, "Init image not found")


@pytest.mark.parametrize(
    "fields",
    [
        {"init_images": ["no picture"]},
        {"init_images": ["AAAA"]},
        {"init_images": ["data:image/png;base64,AAAA"]},
        {"init_images": ["http://127.0.0.1:1/a.png"]},
        {"init_images": ["0197c0de-0000-7000-8000-000000000000"]},
        {"init_images": [SQUARE[: len(SQUARE) // 2]]},
        {"init_images": [SQUARE], "mask": "no picture"},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_a_picture_that_can_t_be_read_is_a_500_with_its_words(client: Client, fields: dict[str, Any]) -> None:
    status, body = post(client, IMG2IMG, {**PLAIN, **fields})
    assert (status, body["detail"]) == (500, "Invalid encoded image")
    assert body["errors"].startswith(("init_images.0: ", "mask: "))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"steps": 0}, ["steps"]),
        ({"steps": 151}, ["steps"]),
        ({"steps": "many"}, ["steps"]),
        ({"cfg_scale": 31}, ["cfg_scale"]),
        ({"width": 32}, ["width"]),
        ({"height": 4096}, ["height"]),
        ({"batch_size": 0}, ["batch_size"]),
        ({"batch_size": 8, "n_iter": 8}, ["batch_size"]),
        ({"seed": -2}, ["seed"]),
        ({"seed": 2**53}, ["seed"]),
        ({"subseed": 2**53, "subseed_strength": 0.5}, ["subseed"]),
        ({"seed": 2**53, "subseed_strength": 0.5}, ["seed"]),
        ({"subseed_strength": 2}, ["subseed_strength"]),
        ({"denoising_strength": 1.5}, ["denoising_strength"]),
        ({"prompt": ["a"]}, ["prompt"]),
        ({"prompt": "a" * 2001}, ["prompt"]),
        ({"styles": "a"}, ["styles"]),
        ({"send_images": "perhaps"}, ["send_images"]),
        ({"alwayson_scripts": ["a"]}, ["alwayson_scripts"]),
        ({"override_settings": "a"}, ["override_settings"]),
        ({"override_settings": {"CLIP_stop_at_last_layers": 0}}, ["override_settings", "CLIP_stop_at_last_layers"]),
        ({"override_settings": {"samples_format": "tiff"}}, ["override_settings", "samples_format"]),
        ({"force_task_id": "a" * 101}, ["force_task_id"]),
    ],
    ids=str,
)
def test_a_field_that_can_t_be_read_is_a_422_that_names_it(client: Client, fields: dict[str, Any], place: list[str]) -> None:
    status, body = post(client, TXT2IMG, {**PLAIN, **fields})
    assert (status, fields_of(body)) == (422, [["body", *place]])
    assert body["errors"].startswith(".".join(place))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"init_images": [SQUARE, SQUARE]}, ["init_images", 1]),
        ({"resize_mode": 4}, ["resize_mode"]),
        ({"inpainting_fill": 4}, ["inpainting_fill"]),
        ({"mask": SQUARE, "mask_blur": 65}, ["mask_blur"]),
        ({"mask": SQUARE, "inpaint_full_res_padding": 513}, ["inpaint_full_res_padding"]),
    ],
    ids=lambda one: str(one)[:40],
)
def test_of_a_picture_s_request_too(client: Client, fields: dict[str, Any], place: list[Any]) -> None:
    status, body = post(client, IMG2IMG, {**PLAIN, "init_images": [SQUARE], **fields})
    assert (status, fields_of(body)) == (422, [["body", *place]])


@pytest.mark.parametrize(("name", "said"), [("no such script", "not found"), ("X/Y/Z plot", "/api/grids/")])
def test_a_script_is_refused_by_name(client: Client, name: str, said: str) -> None:
    status, body = post(client, TXT2IMG, {**PLAIN, "script_name": name})
    assert (status, fields_of(body)) == (422, [["body", "script_name"]])
    assert f"Script '{name}'" in body["errors"]
    assert said in body["errors"]


@pytest.mark.parametrize("body", ["[1]", '"text"', "5", "{", "\xff"])
@pytest.mark.parametrize("path", [TXT2IMG, IMG2IMG, "/internal/progress"])
def test_what_is_no_object_is_refused(client: Client, path: str, body: str) -> None:
    reply = client.post(path, body.encode("latin-1"), content_type="application/json")
    assert reply.status_code == (400 if body in ("{", "\xff") else 422)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json().keys() == FORM


def test_other_methods_and_addresses_answer_in_its_form(client: Client) -> None:
    for reply, status in (
        (client.get(TXT2IMG), 405),
        (client.get("/sdapi/v1/no-such"), 404),
        (client.post("/internal/no-such"), 404),
        (client.post(TXT2IMG, {"prompt": "a"}), 415),
        (client.get("/sdapi/v1/progress", headers={"X-Forwarded-For": "10.0.0.1"}), 401),
    ):
        assert (reply.status_code, reply.headers["Content-Type"]) == (status, "application/json")
        assert reply.json().keys() == FORM


def test_an_empty_object_or_list_asks_for_nothing(client: Client) -> None:
    """PHP and Lua send [] for {}."""
    asked = {**PLAIN, "seed": 1}
    lists: list[str] = ["alwayson_scripts", "override_settings", "comments", "cfg_scale"]
    empty: dict[str, Any] = {name: [] for name in lists} | {name: {} for name in ("styles", "script_args", "steps")}
    for body in (asked, {**asked, **empty}, {**asked, "sampler_name": " "}):
        assert post(client, TXT2IMG, body)[0] == 202
    assert len({str(job.params) for job in Job.objects.all()}) == 1
    assert [job.warnings for job in Job.objects.all()] == [[], [], []]


def test_a_job_that_fails_or_is_cancelled_is_told_in_its_form(client: Client) -> None:
    headers = {"Idempotency-Key": "once"}
    assert post(client, TXT2IMG, PLAIN, **headers)[0] == 202
    Job.objects.update(status="failed", error={"code": "out_of_memory", "status": 507, "detail": "Too large."})
    assert post(client, TXT2IMG, PLAIN, **headers) == (507, {
        "error": "HTTPException", "detail": "Too large.", "body": "", "errors": "Too large.",
    })  # fmt: skip
    Job.objects.update(status="cancelled", error=None)
    status, answered = post(client, TXT2IMG, PLAIN, **headers)
    assert (status, answered["images"]) == (200, [])  # as an interrupted one that had finished none


# ---------------------------------------------------------------- whatever is sent

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
likely = st.sampled_from(
    [
        SQUARE,
        "a lake",
        "<lora:x:1>",
        "Euler a",
        64,
        0.5,
        True,
        [SQUARE],
        {"controlnet": {"args": [{"image": SQUARE}]}},
        {"args": [{}]},
    ]
)


def bodies(names: list[str]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from(names), anything | likely, max_size=6)
    return st.builds(lambda base, more: {**base, **more}, st.just({"prompt": "a lake"}), fields)


@pytest.mark.parametrize(("path", "fields"), [(TXT2IMG, Txt2ImgFields), (IMG2IMG, Img2ImgFields)])
def test_whatever_is_sent_the_answer_is_one_of_a1111_s(client: Client, path: str, fields: Any) -> None:
    names = [*fields().fields, "unknown"]

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(names), st.booleans())
    def check(body: dict[str, Any], with_picture: bool) -> None:
        if with_picture:
            body = {"init_images": [SQUARE], **body}
        reply = client.post(path, json.dumps(body), content_type="application/json", headers={"Prefer": "respond-async"})
        assert reply.status_code in (202, 400, 404, 422, 500, 429, 503)
        assert reply.headers["Content-Type"] == "application/json"
        if reply.status_code != 202:
            assert reply.json().keys() == FORM
        if reply.status_code == 500:
            assert reply.json()["detail"] == "Invalid encoded image"
        Job.objects.all().delete()

    check()
