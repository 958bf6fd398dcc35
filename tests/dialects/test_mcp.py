"""/mcp, spoken to by the protocol's own client: tools that are jobs, over two web processes without sticky sessions."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import jsonschema
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import PaginatedRequestParams

from tests.dialects import mcp_tools
from tests.dialects.mcp_servers import (
    ACCEPT,
    Servers,
    bearer,
    http_client,
    pictures_of,
    session,
    text_of,
    two_servers,
)  # fmt: skip

pytestmark = [pytest.mark.models, pytest.mark.own_database]
LONG = {"num_images": 16, "steps": 150}
NOT_HERE = "0197c0de-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with two_servers(tmp_path_factory.mktemp("mcp")) as both:
        yield both


# ---------------------------------------------------------------- tools


async def test_every_tool_does_its_work_as_jobs_of_the_history(servers: Servers) -> None:
    async with session(servers) as client:
        picture = await mcp_tools.make_one(client)
        for check in mcp_tools.OF_A_PICTURE:
            await check(client, picture)
    job = servers.job_of("a red circle above")
    assert job is not None
    assert (job["source"], job["status"]) == ("mcp", "succeeded")


async def test_the_tools_are_described_as_the_serializers_have_them(servers: Servers) -> None:
    async with session(servers) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"make_picture", "edit_picture", "look_at_picture", "judge_layout", "find_in_history"}
    read_only = [name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint]
    assert read_only == ["find_in_history"]
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema or {})
    fields = tools["make_picture"].input_schema["properties"]
    width = fields["width"]
    assert (width["type"], width["minimum"], width["maximum"], width["multipleOf"]) == ("integer", 64, 2048, 8)
    assert fields["prompt"]["maxLength"] == 2000


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
