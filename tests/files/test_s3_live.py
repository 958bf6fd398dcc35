"""A whole server whose pictures are in a bucket: made, edited, judged, shown, and made again while the bucket is away for a moment."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.files.conftest import encode, picture
from tests.files.s3_server import Proxy, names_in, options_of, s3_server
from tests.live import LiveServer

pytestmark = [pytest.mark.models, pytest.mark.own_database]
PROMPT = {"prompt": "a lake", "steps": 2, "width": 128, "height": 128, "seed": 1}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Proxy]:
    with s3_server() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(bucket: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    options = json.dumps(options_of(bucket, read_timeout=5))
    with LiveServer(
        tmp_path_factory.mktemp("s3"),
        DATABASE_URL="",
        MEDIA_STORAGE="storages.backends.s3.S3Storage",
        MEDIA_STORAGE_OPTIONS=options,
    ) as live:
        yield live


def make(server: LiveServer, path: str, **body: Any) -> list[dict[str, Any]]:
    reply = server.client.post(path, json=body)
    assert reply.status_code == 201, reply.text
    return list(reply.json()["result"]["images"])


def test_pictures_are_made_edited_judged_and_shown(server: LiveServer, bucket: Proxy) -> None:
    first, second = make(server, "/api/txt2img/", **PROMPT, num_images=2)
    mask = base64.b64encode(encode(picture((128, 128), 255, "L"))).decode()
    [edited] = make(server, "/api/img2img/", **PROMPT, image=first["id"], mask=mask, strength=0.5, output_format="webp")
    scored = server.client.post("/api/score/", json={"image": second["id"]})
    assert (scored.status_code, scored.json()["status"]) == (201, "succeeded")
    for image in (first, second, edited):
        file = server.client.get(image["url"])
        assert (file.status_code, file.headers["Content-Length"]) == (200, str(len(file.content)))
        assert server.client.get(image["thumbnail_url"]).content[8:12] == b"WEBP"
    part = server.client.get(first["url"], headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    gallery = server.client.get("/studio/gallery/")
    assert (gallery.status_code, first["thumbnail_url"].removeprefix(server.url) in gallery.text) == (200, True)
    assert not list(server.folder.glob("media/**/*.*"))  # nothing lies on this disk


def test_a_picture_is_made_again_while_the_bucket_is_away(server: LiveServer, bucket: Proxy) -> None:
    before, logged = len(names_in(bucket)), len(server.log.read_text())
    bucket.fail("lost", method="PUT")
    job = server.client.post("/api/txt2img/", json=PROMPT, headers={"Prefer": "respond-async"}).json()

    def read() -> dict[str, Any]:
        return dict(server.client.get(job["links"]["self"]).json())

    server.wait_until(lambda: "is tried again in " in server.log.read_text()[logged:], "it is handed back")
    bucket.fail("", 0)
    server.wait_until(lambda: read()["status"] == "succeeded", "it is made", seconds=40)
    assert read()["attempt"] == 1  # what the storage costs is none of its attempts
    [image] = read()["result"]["images"]
    assert server.client.get(image["url"]).status_code == 200
    assert len(names_in(bucket)) >= before + 2  # and what was stored without an answer, until the sweep


def test_who_asks_while_it_is_away_is_told_at_every_surface(server: LiveServer, bucket: Proxy) -> None:
    [image] = make(server, "/api/txt2img/", **PROMPT)
    bucket.fail("503")
    body = {"prompt": "a lake", "image": base64.b64encode(encode(picture((128, 128)))).decode()}
    replies = [
        server.client.get(image["url"]),
        server.client.post("/api/img2img/", json=body),
        server.client.post("/sdapi/v1/img2img", json={"prompt": "a lake", "init_images": [body["image"]], "steps": 1}),
    ]
    bucket.fail("", 0)
    assert [reply.status_code for reply in replies] == [503] * 3
    assert server.client.get("/api/health/").status_code == 200
    assert not re.search(r" 5(00|02) [0-9.]+ s", server.log.read_text())
