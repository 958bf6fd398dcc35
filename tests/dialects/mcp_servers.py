"""Two servers that speak MCP, and the protocol's own client of them."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from tests.live import LiveServer

ACCEPT = {"Accept": "application/json, text/event-stream"}
MAKE_KEYS = """
from api.access.services import create_key
for scopes in (["read", "submit"], ["read", "submit"], ["read"]):
    print(create_key(name="a client", scopes=scopes)[1])
"""


@dataclass
class Servers:
    """Two web processes of one data folder. The keys: `owner` owns what the tests make."""

    first: LiveServer
    second: LiveServer
    owner: str
    other: str
    reader: str

    @property
    def url(self) -> str:
        return f"{self.first.url}/mcp"

    def job_of(self, prompt: str) -> dict[str, Any] | None:
        reply = self.first.client.get(f"/api/jobs/?q={prompt}", headers=bearer(self.owner))
        return next(iter(reply.json()["results"]), None)

    async def wait_for(self, prompt: str, *statuses: str) -> str:
        async with asyncio.timeout(30):
            while (job := self.job_of(prompt)) is None or job["status"] not in statuses:
                await asyncio.sleep(0.05)
        return str(job["status"])

    def post(self, message: Any, key: str, second: bool = False, **headers: str) -> httpx.Response:
        server = self.second if second else self.first
        body: dict[str, Any] = {"content": message} if isinstance(message, bytes) else {"json": message}
        sent = {**ACCEPT, "Content-Type": "application/json", **bearer(key), **headers}
        return server.client.post("/mcp", headers=sent, **body)


class EachInTurn(httpx2.AsyncHTTPTransport):
    """Sends every request to another process than the one before, as a proxy without sticky sessions does."""

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self.ports = cycle([servers.first.port, servers.second.port])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(port=next(self.ports))
        return await super().handle_async_request(request)


@contextmanager
def two_servers(folder: Path) -> Iterator[Servers]:
    common = {"DATABASE_URL": "", "DEVICE": "cpu", "MEDIA_ROOT": folder / "media"}
    with LiveServer(folder / "data", **common) as first:
        second = LiveServer(folder / "data", **common, JOB_RUNNER="external")
        second.log = folder / "second.log"
        try:
            second.start(wait=False)
            keys = first.manage("shell", "-v0", "-c", MAKE_KEYS).split()
            first.wait_until(lambda: first.answers("/api/ready/") and second.answers("/api/health/"), "both answer")
            yield Servers(first, second, *keys)
        finally:
            second.client.close()
            second.stop()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def http_client(servers: Servers, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    transport = EachInTurn(servers)
    async with httpx2.AsyncClient(headers=bearer(key), transport=transport, timeout=120) as client:
        yield client


@asynccontextmanager
async def session(servers: Servers, key: str = "") -> AsyncIterator[ClientSession]:
    """Of the versions with a handshake, which is what most clients speak."""
    async with (
        http_client(servers, key or servers.owner) as client,
        streamable_http_client(servers.url, http_client=client) as (read, write),
        ClientSession(read, write) as opened,
    ):
        await opened.initialize()
        yield opened


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def pictures_of(result: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(part.data))) for part in result.content if part.type == "image"]


def data_url(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
