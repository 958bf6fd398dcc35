"""POST /sdapi/v1/png-info: what we, A1111 and others wrote into a file."""

import base64
import io
import json
import uuid
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.access.scopes import LOCAL
from api.files import storage
from api.files.services import create_file
from api.images.metadata import encode_image

pytestmark = pytest.mark.django_db
INFOTEXT = (
    "a (red:1.2) lake\nNegative prompt: blurry, \"quoted\"\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, "
    "Seed: 42, Size: 512x768, Model hash: 0123456789, Model: dream, Clip skip: 2, Hires upscaler: \"R-ESRGAN 4x+, mine\", Version: v1.10.1"
)  # fmt: skip
OURS = {"prompt": "a lake", "steps": 4, "scheduler": "euler_a", "guidance_scale": 5.0, "seed": 7, "model_id": "starter"}


def png(**texts: str) -> bytes:
    info, written = PngInfo(), io.BytesIO()
    for name, value in texts.items():
        info.add_text(name, value)
    Image.new("RGB", (16, 16), "red").save(written, "PNG", pnginfo=info)
    return written.getvalue()


def ask(client: Client, data: bytes, prefix: str = "data:image/png;base64,") -> Any:
    body = {"image": prefix + base64.b64encode(data).decode()}
    reply = client.post("/sdapi/v1/png-info", body, content_type="application/json")
    assert reply.status_code == 200, reply.content
    return reply.json()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a1111s_own_text_is_told_whole_and_in_its_parts(client: Client, prefix: str) -> None:
    told = ask(client, png(parameters=INFOTEXT, Software="webui"), prefix)
    assert told["info"] == INFOTEXT
    assert told["items"] == {"parameters": INFOTEXT, "Software": "webui"}
    assert {
        "Prompt": "a (red:1.2) lake",
        "Negative prompt": 'blurry, "quoted"',
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "Size-1": "512",
        "Size-2": "768",
        "Clip skip": "2",
        "Hires upscaler": "R-ESRGAN 4x+, mine",
    }.items() <= told["parameters"].items()


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_what_we_wrote_is_read_in_each_format(client: Client, output_format: str) -> None:
    told = ask(client, encode_image(Image.new("RGB", (64, 32)), output_format, OURS, warn=print))
    parameters = told["parameters"]
    assert (parameters["Prompt"], parameters["Sampler"], parameters["Seed"]) == ("a lake", "Euler a", "7")
    assert (parameters["Size-1"], parameters["Size-2"], parameters["Clip skip"]) == ("64", "32", "1")
    assert json.loads(told["items"]["darkroom"]) == OURS


def test_a_file_that_says_nothing_has_nothing(client: Client) -> None:
    assert ask(client, png()) == {"info": "", "items": {}, "parameters": {}}


def test_another_programs_texts_are_items(client: Client) -> None:
    told = ask(client, png(prompt='{"3": {}}'))
    assert (told["info"], told["items"]) == ("", {"prompt": '{"3": {}}'})


@pytest.mark.parametrize("image", [None, 7, "", "no picture", "data:image/png;base64,AAAA", "http://127.0.0.1/x.png", ["x"]])
def test_what_is_no_picture_is_told_as_a1111_does(client: Client, image: Any) -> None:
    reply = client.post("/sdapi/v1/png-info", {"image": image}, content_type="application/json")
    assert (reply.status_code, reply.json()["detail"]) == (500, "Invalid encoded image")
    assert reply.json()["errors"].startswith("image: ")


def test_a_picture_that_is_here_is_named_by_its_id(client: Client) -> None:
    data = png(parameters=INFOTEXT)
    written = storage.write_image_files(data, Image.new("RGB", (16, 16)), "png", purpose=storage.OUTPUT)
    file = create_file(written, owner_key=LOCAL.owner_key, purpose=storage.OUTPUT)
    for name in (str(file.pk), f"darkroom://images/{file.pk}"):
        reply = client.post("/sdapi/v1/png-info", {"image": name}, content_type="application/json")
        assert (reply.status_code, reply.json().get("info")) == (200, INFOTEXT)
    unknown = client.post("/sdapi/v1/png-info", {"image": str(uuid.uuid4())}, content_type="application/json")
    assert "There is no image with this id." in unknown.json()["errors"]
