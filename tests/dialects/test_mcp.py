"""/mcp, spoken to by the protocol's own client: tools that are jobs, over two web processes without sticky sessions."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import jsonschema
import pytest
from mcp import Client, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, PaginatedRequestParams
from PIL import Image

from tests.live import LiveServer

pytestmark = [pytest.mark.models, pytest.mark.own_database]
LONG = {"num_images": 16, "steps": 150}
ACCEPT = {"Accept": "application/json, text/event-stream"}
MAKE_KEYS = """
from api.access.services import create_key
for scopes in (["read", "submit"], ["read", "submit"], ["read"]):
    print(create_key(name="a client", scopes=scopes)[1])
"""
NOT_HERE = "0197c0de-0000-7000-8000-000000000000"


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


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("mcp")
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


# ---------------------------------------------------------------- tools


async def test_every_tool_does_its_work_as_jobs_of_the_history(servers: Servers) -> None:
    told: list[tuple[float, str]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async with session(servers) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"make_picture", "edit_picture", "look_at_picture", "judge_layout", "find_in_history"}
        assert [name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint] == [
            "find_in_history"
        ]
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema or {})
        width = tools["make_picture"].input_schema["properties"]["width"]
        known = (width["type"], width["minimum"], width["maximum"], width["multipleOf"])
        assert known == ("integer", 64, 2048, 8)  # as the serializer has them
        assert tools["make_picture"].input_schema["properties"]["prompt"]["maxLength"] == 2000

        asked = {"prompt": "a red circle above a blue square", "seed": 3, "tags": ["mcp"]}
        made = await client.call_tool("make_picture", asked, progress_callback=note)
        assert not made.is_error, text_of(made)
        [picture] = made.structured_content["pictures"]
        assert (picture["seed"], picture["width"]) == (3, 128)
        assert [image.size for image in pictures_of(made)] == [(128, 128)]
        assert picture["id"] in text_of(made)
        assert any("of 20" in sentence for _, sentence in told)
        assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})  # each more than the one before

        mask = Image.new("L", (128, 128))
        mask.paste(255, (0, 0, 64, 128))
        best = await client.call_tool("make_picture", {"prompt": "a red circle", "best_of": 2, "steps": 2})
        assert len(best.structured_content["candidates"]) == 2
        assert all(0 <= one["clip_score"] <= 100 for one in best.structured_content["candidates"])

        edit = {"image": picture["url"], "mask": data_url(mask), "prompt": "a green circle", "steps": 6, "num_images": 2}
        edited = await client.call_tool("edit_picture", edit)
        assert not edited.is_error, text_of(edited)
        assert len(pictures_of(edited)) == len(edited.structured_content["pictures"]) == 2

        looks = ["description", "objects", "text", "hazards"]
        seen = await client.call_tool("look_at_picture", {"image": picture["id"], "look_for": looks})
        assert not seen.is_error, text_of(seen)
        assert {one["label"] for one in seen.structured_content["objects"]} >= {"circle", "square"}
        assert "circle" in seen.structured_content["description"]
        assert list(seen.structured_content["jobs"]) == looks
        assert any("squeezed" in warning for warning in seen.structured_content["warnings"])
        answered = await client.call_tool(
            "look_at_picture", {"image": picture["uri"], "question": "What colour is the circle?"}
        )
        assert "red" in text_of(answered).lower()

        judged = await client.call_tool("judge_layout", {"image": picture["id"], "variant": {"layout": "text-center"}})
        assert 0 <= judged.structured_content["aesthetic_score"] <= 100
        assert judged.structured_content["reasoning"]
        assert len(pictures_of(judged)) == 1

        found = await client.call_tool("find_in_history", {"tag": "mcp", "created_after": "2026-01-01T00:00:00Z"})
        assert [one["id"] for one in found.structured_content["pictures"]] == [picture["id"]]
        assert [max(image.size) for image in pictures_of(found)] == [128]
        rated = await client.call_tool("find_in_history", {"tag": "mcp", "min_rating": 1})
        assert rated.structured_content == {"pictures": [], "more": False}

        resource = (await client.read_resource(picture["uri"])).contents[0]
        assert base64.b64decode(resource.blob).startswith(b"\x89PNG")  # type: ignore[union-attr]
        assert picture["uri"] in [one.uri for one in (await client.list_resources()).resources]

    job = servers.job_of("a red circle above")
    assert job is not None
    assert (job["source"], job["status"]) == ("mcp", "succeeded")


async def test_calls_at_once_each_get_their_own_answer(servers: Servers) -> None:
    async with session(servers) as client:
        asked = [{"prompt": "a yellow star", "seed": seed, "steps": 2} for seed in range(8)]
        results = await asyncio.gather(*(client.call_tool("make_picture", one) for one in asked))
    assert [result.structured_content["pictures"][0]["seed"] for result in results] == list(range(8))


# ---------------------------------------------------------------- leaving


async def test_a_call_that_is_cancelled_ends_its_job_whichever_process_hears_of_it(servers: Servers) -> None:
    """The client's cancellation is a request of its own, which here reaches the other process."""
    async with session(servers) as client, anyio.create_task_group() as calls:
        calls.start_soon(client.call_tool, "make_picture", {"prompt": "cancelled by message", **LONG})
        await servers.wait_for("cancelled by message", "running")
        calls.cancel_scope.cancel()
    assert await servers.wait_for("cancelled by message", "cancelled")


async def test_a_stream_that_is_closed_ends_its_job(servers: Servers) -> None:
    """How the newest version of the protocol cancels."""
    async with (
        http_client(servers, servers.owner) as http,
        Client(streamable_http_client(servers.url, http_client=http)) as client,
    ):
        assert client.protocol_version >= "2026"
        made = await client.call_tool("make_picture", {"prompt": "a blue square", "steps": 2})
        assert len(pictures_of(made)) == 1
        async with anyio.create_task_group() as calls:
            calls.start_soon(client.call_tool, "make_picture", {"prompt": "closed by its client", **LONG})
            await servers.wait_for("closed by its client", "running")
            calls.cancel_scope.cancel()
        assert await servers.wait_for("closed by its client", "cancelled")


async def test_a_client_that_leaves_before_an_answer_without_progress_ends_its_job(servers: Servers) -> None:
    call = {"name": "make_picture", "arguments": {"prompt": "left without progress", **LONG}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    async with httpx.AsyncClient(timeout=60) as client:
        calling = asyncio.create_task(client.post(servers.url, headers={**ACCEPT, **bearer(servers.owner)}, json=message))
        await servers.wait_for("left without progress", "running")
        calling.cancel()
    assert await servers.wait_for("left without progress", "cancelled")


async def test_nobody_else_can_cancel_a_call(servers: Servers) -> None:
    call = {"name": "make_picture", "arguments": {"prompt": "not yours to cancel", **LONG}}
    ours = {**ACCEPT, **bearer(servers.owner), "Mcp-Session-Id": "ours"}
    async with httpx.AsyncClient(timeout=60) as client:
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": call}
        calling = asyncio.create_task(client.post(servers.url, headers=ours, json=message))
        await servers.wait_for("not yours to cancel", "running")
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        assert servers.post(cancel, servers.other, **{"Mcp-Session-Id": "ours"}).status_code == 202
        assert servers.post(cancel, servers.owner, **{"Mcp-Session-Id": "another"}).status_code == 202
        await asyncio.sleep(0.3)
        assert servers.job_of("not yours to cancel")["status"] == "running"  # type: ignore[index]
        assert servers.post(cancel, servers.owner, second=True, **{"Mcp-Session-Id": "ours"}).status_code == 202
        reply = await calling
    assert '"isError":true' in reply.text
    assert "was cancelled" in reply.text


# ---------------------------------------------------------------- saying no


def test_without_a_valid_key_it_is_401_in_the_protocols_form(servers: Servers) -> None:
    for key in ("drk_wrong000_nothing", servers.owner[:-1]):
        reply = servers.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, key)
        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert reply.json()["error"]["data"]["code"] == "not_authenticated"
    foreign = servers.post({}, servers.owner, Origin="http://elsewhere.example")
    assert (foreign.status_code, foreign.json()["jsonrpc"]) == (403, "2.0")
    rebound = servers.post({}, servers.owner, Host="elsewhere.example")
    assert (rebound.status_code, rebound.json()["error"]["data"]["code"]) == (400, "unknown_host")
    for method in ("GET", "DELETE"):
        assert servers.first.client.request(method, "/mcp", headers=bearer(servers.owner)).status_code == 405


async def test_a_key_that_may_only_read_may_only_find(servers: Servers) -> None:
    async with session(servers, servers.reader) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["find_in_history"]
        assert not (await client.call_tool("find_in_history", {})).is_error
        refused = await client.call_tool("make_picture", {"prompt": "no"})
        assert refused.is_error
        assert "scope 'submit'" in text_of(refused)


async def test_anothers_picture_is_not_found(servers: Servers) -> None:
    async with session(servers) as client:
        made = await client.call_tool("make_picture", {"prompt": "mine", "steps": 1})
    picture = made.structured_content["pictures"][0]
    async with session(servers, servers.other) as client:
        for image in (picture["id"], picture["url"], picture["uri"]):
            refused = await client.call_tool("look_at_picture", {"image": image})
            assert (refused.is_error, text_of(refused)) == (True, "image: There is no image with this id.")
        with pytest.raises(MCPError, match="no picture with this id"):
            await client.read_resource(picture["uri"])
        assert (await client.call_tool("find_in_history", {})).structured_content["pictures"] == []


MENDABLE = [
    ("make_picture", {}, "prompt: This field is required."),
    ("make_picture", {"prompt": "a", "stepz": 3}, "stepz: Unknown argument. Did you mean 'steps'?"),
    ("make_picture", {"prompt": "a", "webhook": "http://example.com"}, "webhook: Unknown argument."),
    ("make_picture", {"prompt": "a", "width": 70, "steps": 0}, "width: Must be a multiple of 8"),
    ("make_picture", {"prompt": "a", "model_id": "nothing"}, "model_id: "),
    ("make_picture", {"prompt": "a", "loras": [{"id": "nothing"}]}, "loras.0.id: "),
    ("edit_picture", {"prompt": "a", "image": NOT_HERE}, "image: There is no image with this id."),
    ("edit_picture", {"prompt": "a", "image": "https://example.com/a.png"}, "image: Image URLs are not allowed"),
    ("edit_picture", {"prompt": "a", "image": "http://["}, "image: Image URLs are not allowed"),
    ("look_at_picture", {}, "image: This field is required."),
    ("look_at_picture", {"image": NOT_HERE, "look_for": ["colours"]}, "look_for: There is no look 'colours'."),
    ("look_at_picture", {"image": NOT_HERE, "classes": ["cat"]}, "classes: Says nothing where look_for is description."),
    ("look_at_picture", {"image": NOT_HERE, "question": 5}, "question: Must be a text"),
    ("judge_layout", {}, "image: There is nothing to score"),
    ("find_in_history", {"rating": 9}, "rating: "),
    ("find_in_history", {"q": {"a": 1}}, "q: Must be a text"),
    ("find_in_history", {"limit": 0}, "limit: Must be a whole number"),
    ("find_in_history", {"order": "best"}, "order: There is no such order."),
    ("find_in_history", {"created_after": "yesterday"}, "created_after: "),
]


async def test_bad_arguments_are_told_by_name_so_that_the_next_call_can_be_right(servers: Servers) -> None:
    async with session(servers) as client:
        for name, arguments, wanted in MENDABLE:
            result = await client.call_tool(name, arguments)
            assert result.is_error, (name, arguments)
            assert text_of(result).startswith(wanted), (name, arguments, text_of(result))
        with pytest.raises(MCPError, match="There is no tool 'paint'"):
            await client.call_tool("paint", {})
        with pytest.raises(MCPError, match="There is no picture"):
            await client.read_resource(f"darkroom://images/{NOT_HERE}")
        with pytest.raises(MCPError, match="cursor"):
            await client.list_resources(params=PaginatedRequestParams(cursor="nowhere"))


MESSAGES = [
    (b"{", -32700, "This is not JSON"),
    (b"[]", -32600, "one JSON-RPC message"),
    (b"{}", -32600, '"jsonrpc": "2.0"'),
    (b'{"jsonrpc": "2.0", "id": 1}', -32600, "`method`"),
    (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600, "`id`"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', -32600, "`params`"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a\\u0000b"}}', -32602, "params.name: "),
]


def test_what_is_no_message_is_told_in_json_rpc(servers: Servers) -> None:
    for body, code, words in MESSAGES:
        reply = servers.post(body, servers.owner)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (400, code), reply.text
        assert words in error["message"]


def test_only_who_asks_for_progress_gets_a_stream(servers: Servers) -> None:
    call: dict[str, Any] = {"name": "find_in_history", "arguments": {}}
    plain = servers.post({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": call}, servers.owner)
    told = {**call, "_meta": {"progressToken": 1}}
    streamed = servers.post({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": told}, servers.owner)
    assert plain.headers["Content-Type"] == "application/json"
    assert streamed.headers["Content-Type"].startswith("text/event-stream")
    (event,) = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert json.loads(event.removeprefix("data: ")) == plain.json()  # one kernel, by both ways
    for version in ("2025-03-26", "2025-11-25"):
        unknown = servers.post(
            {"jsonrpc": "2.0", "id": 1, "method": "paint"}, servers.owner, **{"MCP-Protocol-Version": version}
        )
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32601)
    refused = {
        "Accept": ("application/json", 406),
        "Content-Type": ("text/plain", 415),
        "MCP-Protocol-Version": ("1999-01-01", 400),
    }
    for name, (value, status) in refused.items():
        reply = servers.post(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}', servers.owner, **{name: value})
        assert (reply.status_code, reply.headers["Content-Type"]) == (status, "application/json"), reply.text
        assert reply.json()["error"]["message"]
        assert name == "Accept" or value in reply.json()["error"]["message"]


def test_a_body_without_a_content_type_is_json(servers: Servers) -> None:
    who: dict[str, Any] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "1"},
    }
    for asked in ({"method": "ping"}, {"method": "initialize", "params": who}):
        message = {"jsonrpc": "2.0", "id": 1, **asked}
        with httpx.Client(headers={**ACCEPT, **bearer(servers.owner)}) as client:
            reply = client.post(f"{servers.first.url}/mcp", content=json.dumps(message))  # httpx names no type of bytes
        assert "Content-Type" not in reply.request.headers
        assert (reply.status_code, '"result"' in reply.text) == (200, True), reply.text


async def test_what_is_long_in_coming_becomes_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy ends what stays silent; the call ends with its client."""
    from mcp.server.lowlevel import Server
    from starlette.requests import Request

    from api.dialects.mcp import direct

    ended = []

    async def slow(context: Any, asked: Any) -> CallToolResult:
        try:
            await asyncio.sleep(asked.arguments["seconds"])
        finally:
            ended.append(asked.name)
        return CallToolResult(content=[])

    async def call(name: str, seconds: float) -> Any:
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": {"seconds": seconds}},
        }
        return await direct.answer(Server("slow", on_call_tool=slow), message, Request({"type": "http", "headers": []}))

    monkeypatch.setattr(direct, "SILENT_SECONDS", 0.05)
    assert (await call("quick", 0))["Content-Type"] == "application/json"
    late = await call("late", 0.2)
    chunks = [chunk async for chunk in late]
    assert chunks[0] == b": ping\r\n\r\n"
    assert json.loads(chunks[-1].decode().partition("data: ")[2])["result"] == {"content": [], "isError": False}
    (await call("left", 60)).close()
    await asyncio.sleep(0.05)
    assert ended == ["quick", "late", "left"]


def test_a_large_picture_goes_out_as_a_preview(tmp_path: Path) -> None:
    from api.dialects.mcp.pictures import make_preview

    noise = Image.effect_noise((1800, 1200), 90).convert("RGB")  # nothing compresses worse
    preview = make_preview(noise, 60_000)
    assert len(preview) <= 60_000
    width, height = Image.open(io.BytesIO(preview)).size
    assert width == pytest.approx(height * 1.5, abs=2)
