"""One server with the starter's weights and two keys, for all tests of this folder that speak to one."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client
from PIL import Image

from tests.dialects.conftest import TwoKeys
from tests.dialects.openai.image_requests import Send
from tests.live import LiveServer


@dataclass
class OpenAIServer:
    """`key` owns what the tests make; `other` is another owner's."""

    live: LiveServer
    key: str
    other: str

    @property
    def base_url(self) -> str:
        return f"{self.live.url}/v1"

    def post(self, path: str, *, key: str = "", timeout: float = 120, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        return self.live.client.post(f"/v1/{path}", headers=headers, timeout=timeout, **options)

    def get(self, url: str, key: str = "") -> httpx.Response:
        return self.live.client.get(url, headers={"Authorization": f"Bearer {key or self.key}"})

    def jobs(self, words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/jobs/?q={words}").json()["results"]
        return found


@pytest.fixture(scope="session")
def server(with_two_keys: TwoKeys) -> OpenAIServer:
    return OpenAIServer(with_two_keys.live, with_two_keys.owner, with_two_keys.other)


def to_png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def blue(side: int = 64) -> bytes:
    return to_png(Image.new("RGB", (side, side), "blue"))


def mask(side: int = 64) -> bytes:
    """Transparent in the middle."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (side // 4, side // 4, 3 * side // 4, 3 * side // 4))
    return to_png(image)


def opened(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def send(client: Client) -> Send:
    def post(path: str, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        sent = {"Prefer": "respond-async", **(headers or {})}
        return client.post(path, json.dumps(body), content_type="application/json", headers=sent)

    return post


@pytest.fixture
def send_form(client: Client) -> Send:
    def post(path: str, **fields: Any) -> Any:
        return client.post(path, fields, headers={"Prefer": "respond-async"})

    return post
