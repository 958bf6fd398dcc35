"""A form carries what JSON can: the same job comes of both, and what can't be read is an error of its field."""

import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework import serializers

from api.form_data import DelimiterCount
from api.images.control.serializers import PreprocessSerializer
from api.images.grids.serializers import GridSerializer
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.models import Job
from api.scoring.serializers import ClipScoreSerializer, ScoreBatchSerializer, ScoreSerializer
from api.vision.cutout.serializers import CutoutSerializer
from api.vision.hazard_views import HazardSerializer
from api.vision.serializers import DetectSerializer, OcrSerializer
from tests.api.bodies import ASYNC, BODIES, FORMS, png, text

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]
Form = dict[str, Any]
SERIALIZERS: dict[str, Any] = {
    "/api/txt2img/": Txt2ImgSerializer,
    "/api/img2img/": Img2ImgSerializer,
    "/api/grids/": GridSerializer,
    "/api/score/": ScoreSerializer,
    "/api/score/batch/": ScoreBatchSerializer,
    "/api/clip-score/": ClipScoreSerializer,
    "/api/cutout/": CutoutSerializer,
    "/api/detect/": DetectSerializer,
    "/api/hazards/": HazardSerializer,
    "/api/upscale/": UpscaleSerializer,
    "/api/ocr/": OcrSerializer,
    "/api/preprocess/": PreprocessSerializer,
}
BOX = {"kind": "title", "x": 1.5, "y": 2, "w": 9, "h": 9}
IMAGES = [text(png(1)), text(png(2))]
STRUCTURES: dict[str, Any] = {
    "loras": [{"id": "riso", "weight": 0.5}],
    "variation": {"seed": 5, "strength": 0.25, "earlier": [{"seed": 6, "strength": 0.5}]},
    "outpaint": {"left": 8, "right": 0, "top": 3, "bottom": 0},
    "hires": {"scale": 1.5, "strength": 0.5},
    "upscale": {"scale": 3, "model_id": "lanczos"},
    "blend": {"model_id": "nearest", "weight": 0.25},
    "cutout": {"model_id": "starter-cutout"},
    "rank_by": {"clip": 0.7, "layout": 0.3},
    "control": [{"image": IMAGES[0], "kind": "canny"}, {"image": IMAGES[1], "preprocessor": "scribble", "weight": 0.5}],
    "ip_adapter": [{"image": IMAGES[0], "weight": 0.5}, {"image": IMAGES[1]}],
    "tags": ["a", "b"],
    "variant": {"gradient": "from-purple-500 to-pink-600"},
    "event_data": {"title": "Jazz [live]", "description": 'with "quotes", commas; and ümläuts'},
    "elements": [BOX, {**BOX, "y": 12}],
    "items": [{"image": text(png()), "elements": [BOX]}, {"event_data": {"title": "Jazz"}}],
    "images": IMAGES,
    "prompts": ["a lake, at sunset", "[red] boat"],
    "webhook": {"url": "https://example.com/hook", "events": ["started", "completed"]},
    "classes": ["traffic light, red", "[mèo]"],
    "languages": ["en", "de"],
    "request": {"prompt": "a lake", "seed": 1, "loras": [{"id": "riso"}]},
    "axes": [
        {"field": "steps", "values": [4, 8]},
        {"field": "prompt", "part": "lake", "values": ["sea"], "labels": ["the sea"]},
    ],
    "box": {"xmin": 1, "ymin": 2, "xmax": 20, "ymax": 21.5},
    "points": [{"x": 5, "y": 6}, {"x": 1, "y": 1, "inside": False}],
}
BESIDE = {
    **{
        name: {"seed": 1}
        for name in ("loras", "control", "tags", "variation", "outpaint", "hires", "upscale", "blend", "cutout")
    },
    "rank_by": {"best_of": 2, "seed": 1},
    "ip_adapter": {"seed": 1, "model_id": "stable-diffusion-v1-5"},
}
STRUCTURED = serializers.BaseSerializer | serializers.ListField | serializers.DictField | serializers.JSONField


def structured_fields() -> list[tuple[str, str]]:
    return [
        (path, name)
        for path in FORMS
        for name, field in SERIALIZERS[path]().fields.items()
        if isinstance(field, STRUCTURED) or getattr(field, "may_be_object", False)
    ]


LISTS = [(path, name) for path, name in structured_fields() if isinstance(STRUCTURES[name], list)]


def multipart(client: Client, path: str, form: Form) -> Any:
    return client.post(path, form, headers=ASYNC)


def urlencoded(client: Client, path: str, form: Form) -> Any:
    return client.post(path, urlencode(form, doseq=True), "application/x-www-form-urlencoded", headers=ASYNC)


POSTS = [multipart, urlencoded]
post_each_way = pytest.mark.parametrize("post", POSTS)


def as_form(body: dict[str, Any]) -> Form:
    return {name: value if isinstance(value, str | int | float) else json.dumps(value) for name, value in body.items()}


def body_for(path: str, name: str) -> dict[str, Any]:
    return {"seed": 1, **BODIES[path]()} | BESIDE.get(name, {}) if "2img" in path else BODIES[path]()


def params(reply: Any) -> Any:
    assert reply.status_code == 202, reply.content
    return Job.objects.get(pk=reply.json()["id"]).params


def error(reply: Any) -> dict[str, str]:
    assert reply.status_code == 400, reply.content
    (only,) = reply.json()["errors"]
    assert not Job.objects.exists()
    return only  # type: ignore[no-any-return]


def test_every_structure_of_these_requests_is_tested() -> None:
    assert {name for _, name in structured_fields()} == set(STRUCTURES)


@post_each_way
@pytest.mark.parametrize(("path", "name"), structured_fields())
def test_a_structure_is_json_text(client: Client, send: Send, post: Any, path: str, name: str) -> None:
    body = {**body_for(path, name), name: STRUCTURES[name]}
    assert params(post(client, path, as_form(body))) == params(send(path, body))


@post_each_way
@pytest.mark.parametrize(("path", "name"), LISTS)
def test_a_list_is_its_field_repeated(client: Client, send: Send, post: Any, path: str, name: str) -> None:
    body = {**body_for(path, name), name: STRUCTURES[name]}
    each = [value if isinstance(value, str) else json.dumps(value) for value in STRUCTURES[name]]
    assert params(post(client, path, {**as_form(body), name: each})) == params(send(path, body))


@post_each_way
@pytest.mark.parametrize(("path", "name"), structured_fields())
def test_what_is_not_json_is_an_error_of_its_field(client: Client, post: Any, path: str, name: str) -> None:
    form = as_form(body_for(path, name))
    for rubbish in ("[rubbish", '{"a": ', '[{"id": NaN}]', '["a", "b"', "[" * 2000):
        if rubbish[0] == "[" or name not in (
            "tags",
            "prompts",
            "classes",
            "languages",
        ):  # where a brace begins a text like any other
            assert error(post(client, path, {**form, name: rubbish}))["field"].split(".")[0] == name


@post_each_way
def test_loras_that_are_a_word_are_an_error(client: Client, post: Any) -> None:
    assert error(post(client, "/api/txt2img/", {"prompt": "a", "loras": "rubbish"}))["field"] == "loras"


def test_a_structure_that_is_sent_as_a_file_is_an_error(client: Client) -> None:
    form = {"prompt": "a", "loras": SimpleUploadedFile("loras.json", b"[]")}
    assert "not a file" in error(multipart(client, "/api/txt2img/", form))["detail"]


@post_each_way
@pytest.mark.parametrize("values", [['["a"]', "b"], ["a", '["b"]']])
def test_a_list_is_repeated_or_json_not_both(client: Client, post: Any, values: list[str]) -> None:
    assert error(post(client, "/api/txt2img/", {"prompt": "a", "tags": values}))["field"] == "tags"


@post_each_way
@pytest.mark.parametrize("name", ["prompt", "seed", "output_format", "rank_by"])
def test_what_takes_one_value_is_sent_once(client: Client, post: Any, name: str) -> None:
    told = error(post(client, "/api/txt2img/", {"prompt": "a", name: ["1", "2"]}))
    assert (told["field"], told["code"]) == (name, "repeated")


def test_a_picture_is_sent_once_as_text_or_as_a_file(client: Client) -> None:
    form = {"prompt": "a", "image": [text(png()), SimpleUploadedFile("a.png", png())]}
    assert error(multipart(client, "/api/img2img/", form))["code"] == "repeated"


@post_each_way
def test_a_field_that_is_left_empty_is_not_given(client: Client, send: Send, post: Any) -> None:
    empty = dict.fromkeys(("seed", "model_id", "loras", "tags", "rank_by", "best_of", "mask", "deterministic", "width"), "")
    body = BODIES["/api/img2img/"]()
    given, plain = params(post(client, "/api/img2img/", {**body, **empty})), params(send("/api/img2img/", body))
    assert {**given, "seed": 0} == {**plain, "seed": 0}


@post_each_way
def test_an_unknown_field_is_named(client: Client, post: Any) -> None:
    assert error(post(client, "/api/txt2img/", {"prompt": "a", "lora": ["1", "2"]}))["field"] == "lora"


@pytest.mark.parametrize("send_bytes", ["multipart", "urlencoded"])
def test_text_that_is_not_utf8_is_an_error_and_not_another_prompt(client: Client, send_bytes: str) -> None:
    if send_bytes == "urlencoded":
        sent, kind = b"prompt=caf%E9", "application/x-www-form-urlencoded"
    else:
        sent = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\ncaf\xe9\r\n--x--\r\n'
        kind = "multipart/form-data; boundary=x"
    told = error(client.generic("POST", "/api/txt2img/", sent, kind, headers=ASYNC))
    assert (told["field"], told["code"]) == ("prompt", "not_utf8")


NAMED = b'Content-Disposition: form-data; name="prompt"'


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"--x\r\n%(named)b\r\n\r\na\r\n--x\r\nContent-Disposition: form-data\r\n\r\nb\r\n--x--\r\n", "of its 2 parts 1 "),
        (b"--x\r\n%(named)b\r\n\r\na\r\n--x\r\nContent-Type: text/plain\r\n\r\nb\r\n--x--\r\n", "of its 2 parts 1 "),
        (b'--x\r\n%(named)b\r\n\r\na\r\n--x\r\n%(named)b; filename="\xe9"\r\n\r\nb\r\n--x--\r\n', "of its 2 parts 1 "),
        (b"--x\r\n%(named)b\r\n\r\na\r\n--x\r\nno header\r\n--x--\r\n", "of its 2 parts 1 "),
        (b"--x\n%(named)b\n\na\n--x--\n", "of its 1 parts 0 "),
        (b"--x\r\n%(named)b\r\n\r\na la", "cut off"),
        (b"--x\r\n%(named)b\r\n\r\na lake\r\n--x\r\n", "cut off"),
        (b"prompt=a lake", "cut off"),
    ],
)
def test_a_form_of_which_a_part_cannot_be_read_is_refused(client: Client, sent: bytes, said: str) -> None:
    body = sent % {b"named": NAMED}
    reply = client.generic("POST", "/api/txt2img/", body, "multipart/form-data; boundary=x", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "parse_error"), reply.content
    assert said in reply.json()["detail"]


def test_text_before_and_after_a_form_is_no_part_of_it(client: Client) -> None:
    body = b"before\r\n--x\r\n" + NAMED + b"\r\n\r\na lake\r\n--x--\r\nafter"
    reply = client.generic("POST", "/api/txt2img/", body, "multipart/form-data; boundary=x", headers=ASYNC)
    assert (reply.status_code, reply.json()["params"]["prompt"]) == (202, "a lake"), reply.content


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_delimiters_are_counted_wherever_a_body_is_divided(size: int) -> None:
    body = DelimiterCount(io.BytesIO(b"--x\r\na\r\n----x\r\nb--\r\n--x--\r\n"), b"--x")
    while body.read(size):
        pass
    assert (body.delimiters, body.closing) == (3, 1)


@pytest.mark.parametrize("name", ["..", "/", "a/.."])
def test_a_file_is_taken_whatever_it_is_called(client: Client, name: str) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    sent = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n' + head.encode() + png() + b"\r\n--x--\r\n"
    reply = client.generic("POST", "/api/img2img/", sent, "multipart/form-data; boundary=x", headers=ASYNC)
    assert reply.status_code == 202, reply.content


@post_each_way
def test_as_many_prompts_and_pictures_as_json_may_have_fit_into_a_form(client: Client, post: Any) -> None:
    form = {"images": [text(png())] * 64, "prompts": ["a lake"] * 64}
    made = params(post(client, "/api/clip-score/", form))
    assert (len(made["images"]), len(made["prompts"])) == (64, 64)


@post_each_way
@pytest.mark.parametrize("name", ["variant", "eventData"])
def test_the_older_layout_server_names_what_it_can_not_read(client: Client, post: Any, name: str) -> None:
    reply = (
        client.post("/score", {"image": text(png()), name: "{"}) if post is multipart else post(client, "/score", {name: "{"})
    )
    assert reply.status_code == 400, reply.content
    assert name in reply.json()["detail"]


@post_each_way
def test_the_older_generate_server_takes_one_prompt(client: Client, post: Any) -> None:
    reply = post(client, "/generate", {"prompt": ["a", "b"]})
    assert reply.status_code == 400, reply.content
    assert "prompt" in reply.json()["detail"]
