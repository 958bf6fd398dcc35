"""One reader of pictures for the whole server: whatever one field understands, all do, and the same picture is kept."""

import base64
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from api.files.models import StoredFile
from api.jobs.models import Job
from tests.api.bodies import BODIES, CHATS, VLM, chat, png, stored, text

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]
DATA = png()
PLAIN = text(DATA)
URL_SAFE = base64.urlsafe_b64encode(DATA).decode()
Put = Callable[[dict[str, Any], Any], None]


def in_chat(body: dict[str, Any], image: Any) -> None:
    body |= chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}], model=VLM)


FIELDS: list[tuple[str, str, Put]] = [
    ("/api/img2img/", "image", lambda body, image: body.update(image=image)),
    ("/api/img2img/", "mask", lambda body, image: body.update(mask=image)),
    ("/api/score/", "image", lambda body, image: body.update(image=image)),
    ("/api/score/batch/", "items.0.image", lambda body, image: body["items"][0].update(image=image)),
    ("/api/clip-score/", "images.0", lambda body, image: body.update(images=[image])),
    ("/api/detect/", "image", lambda body, image: body.update(image=image)),
    ("/api/upscale/", "image", lambda body, image: body.update(image=image)),
    ("/api/hazards/", "image", lambda body, image: body.update(image=image)),
    ("/api/ocr/", "image", lambda body, image: body.update(image=image)),
    ("/hf/image-to-image", "inputs", lambda body, image: body.update(inputs=image)),
    ("/hf/object-detection", "inputs", lambda body, image: body.update(inputs=image)),
    ("/hf/image-to-text", "inputs", lambda body, image: body.update(inputs=image)),
    ("/hf/zero-shot-image-classification", "inputs", lambda body, image: body.update(inputs=image)),
    *((path, "messages.0.content.0.image_url.url", in_chat) for path in CHATS),
]
SAID = {
    "base64": PLAIN,
    "without padding": PLAIN.rstrip("="),
    "for URLs": URL_SAFE,
    "for URLs, without padding": URL_SAFE.rstrip("="),
    "in lines": "\r\n".join(PLAIN[start : start + 76] for start in range(0, len(PLAIN), 76)),
    "with space around": f"  \n{PLAIN}\n",
    "in groups": " ".join(PLAIN[start : start + 8] for start in range(0, len(PLAIN), 8)),
    "data URL": f"data:image/png;base64,{PLAIN}",
    "data URL with a parameter": f"data:image/png;charset=utf-8;base64,{PLAIN}",
    "data URL with a parameter behind": f"data:image/png;base64;charset=utf-8,{PLAIN}",
    "data URL without a type": f"data:;base64,{PLAIN}",
    "data URL in capitals": f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
    "data URL of another type": f"data:image/jpeg;base64,{PLAIN}",
    "data URL of no known type": f"data:application/octet-stream;base64,{PLAIN}",
    "data URL without padding": f"data:image/png;base64,{PLAIN.rstrip('=')}",
    "data URL for URLs": f"data:image/png;base64,{URL_SAFE}",
    "data URL, percent-encoded": "data:image/png;base64," + PLAIN.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "data URL in lines": f"data:image/png;base64,\n{PLAIN[:99]}\n{PLAIN[99:]}",
}
BROKEN = {
    "two alphabets": URL_SAFE.replace("_", "/", 1),
    "one character left over": PLAIN.rstrip("=") + "A" * ((1 - len(PLAIN.rstrip("="))) % 4),
    "padding in the middle": f"{PLAIN[:40]}=={PLAIN[42:]}",
    "too much padding": PLAIN.rstrip("=") + "====",
    "another character": PLAIN[:40] + "!" + PLAIN[41:],
    "letters of another script": PLAIN[:40] + "ä" + PLAIN[41:],
    "data URL that is not base64": "data:image/png,abc",
    "data URL without an end": "data:image/png;base64",
    "data URL of text": f"data:text/plain;base64,{PLAIN}",
    "no picture": text(b"hello"),
    "cut off": PLAIN[: len(PLAIN) // 8 * 4],
    "nothing": "",
    "nothing in a data URL": "data:image/png;base64,",
    "a file's name": "cat.png",
    "a number": 7,
    "a list": [PLAIN],
    "an object": {"url": PLAIN},
}


def body_with(path: str, put: Put, image: Any) -> dict[str, Any]:
    body = deepcopy(BODIES[path]())
    put(body, image)
    return body


each_field = pytest.mark.parametrize(("path", "field", "put"), FIELDS, ids=[f"{path}:{field}" for path, field, _ in FIELDS])


@each_field
def test_every_field_understands_them_all(send: Send, path: str, field: str, put: Put) -> None:
    known = stored()
    for way, said in SAID.items():
        reply = send(path, body_with(path, put, said))
        assert reply.status_code == 202, (way, reply.content)
        if field != "mask":  # which is kept in grey
            assert str(known.pk) in str(Job.objects.get(pk=reply.json()["id"]).params), way
            assert StoredFile.objects.count() == 1, way


@each_field
def test_every_field_names_itself_where_it_does_not(send: Send, path: str, field: str, put: Put) -> None:
    for way, said in BROKEN.items():
        reply = send(path, body_with(path, put, said))
        assert reply.status_code == 400, (way, reply.content)
        named = named_field(reply.json())
        assert named == field or named.startswith(f"{field}."), way  # or the part of an object that isn't known
    assert not Job.objects.exists()


def named_field(body: dict[str, Any]) -> str:
    if "error_type" in body:  # in Hugging Face's form
        return body["error"].split(":")[0]
    if "error" in body:  # in OpenAI's form
        return body["error"]["param"].replace("[", ".").replace("]", "")
    return body["errors"][0]["field"]


@pytest.mark.parametrize("prefix", ["", "darkroom://images/"])
@each_field
def test_every_field_takes_the_id_of_a_picture_here(send: Send, path: str, field: str, put: Put, prefix: str) -> None:
    file = stored(5)
    assert send(path, body_with(path, put, f"{prefix}{file.pk}")).status_code == 202
    assert str(file.pk) in str(Job.objects.get().params)
