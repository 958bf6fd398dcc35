"""A live server with the starter's weights, for A1111's clients."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from tests.live import LiveServer


@pytest.fixture(scope="package")
def server(waiting_for_none: LiveServer) -> LiveServer:
    """Its own clients wait for none; A1111's don't say so, and do."""
    return waiting_for_none


def ask(server: LiveServer, path: str, **body: Any) -> Any:
    return server.client.post(f"/sdapi/v1/{path}", json=body)


def pictures(reply: Any) -> list[Image.Image]:
    assert reply.status_code == 200, reply.text
    return [decoded(one) for one in reply.json()["images"]]


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def info(reply: Any) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    return json.loads(reply.json()["info"])  # type: ignore[no-any-return]


def job_of(server: LiveServer, reply: Any) -> Any:
    return server.client.get(reply.headers["Location"]).json()


def encoded(picture: Image.Image, format_name: str = "PNG") -> str:
    written = io.BytesIO()
    picture.save(written, format_name)
    return base64.b64encode(written.getvalue()).decode()


@dataclass
class KeyedServer:
    """One that has keys: `token` is a client's, `staff` the owner's."""

    live: LiveServer
    token: str
    staff: str

    def jobs(self, **filters: Any) -> list[Any]:
        """All of them, the newest first."""
        reply = self.live.client.get("/api/jobs/", params=filters, headers={"Authorization": f"Bearer {self.staff}"})
        return reply.json()["results"]  # type: ignore[no-any-return]


@pytest.fixture(scope="package")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    folder = tmp_path_factory.mktemp("a1111-keys")
    with LiveServer(folder, DATABASE_URL="", DEVICE="cpu", SYNC_WAIT_SECONDS=0) as live:
        token = live.manage("create_key", "a client").strip()
        staff = live.manage("create_key", "the owner", "--scope", "staff").strip()
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield KeyedServer(live, token, staff)
