"""A request whose client wants no progress, answered with plain JSON by the package's kernel (`serve_one`): it knows methods and versions.

The package's transport answers the same requests, as an event stream, by way of a session, three tasks and four streams in memory, which
take 0.8 ms of processor time. Where the answer is long in coming, it is an event stream here too: proxies end what stays silent.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_one
from mcp.server.streamable_http import CONTENT_TYPE_JSON, CONTENT_TYPE_SSE, check_accept_headers
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request

from api.dialects.mcp.exchange import Message

SILENT_SECONDS = 15.0
"""Without a byte. As long as the package's own streams are."""
TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)


def suits(message: Message, request: Request) -> bool:
    """What it does not suit, the package's transport answers, or refuses in its own words."""
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return (
        "id" in message
        and message.get("method") not in (None, "initialize")
        and (version is None or version in HANDSHAKE_PROTOCOL_VERSIONS)
        and progress_token_from_params(message.get("params")) is None
        and request.headers.get("content-type", "").partition(";")[0].strip() == CONTENT_TYPE_JSON
        and all(check_accept_headers(request))
    )


@dataclass
class Dispatch:
    """The package's DispatchContext of one request that has no way back to its client but its answer."""

    request_id: types.RequestId
    message_metadata: ServerMessageMetadata
    transport: TransportContext = TRANSPORT
    can_send_request: bool = False
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> Any:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """To a client that did not ask to be told."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """As `notify`."""


async def answer(server: Server[Any], message: Message, request: Request) -> HttpResponseBase:
    """A client that leaves ends the call."""
    task = asyncio.get_running_loop().create_task(serve(server, message, request))
    try:
        await asyncio.wait({task}, timeout=SILENT_SECONDS)
    except asyncio.CancelledError:
        task.cancel()
        raise
    return HttpResponse(task.result(), content_type=CONTENT_TYPE_JSON) if task.done() else LateResponse(task)


async def serve(server: Server[Any], message: Message, request: Request) -> str:
    """The JSON-RPC response."""
    asked = types.JSONRPCRequest.model_validate(message, by_name=False)
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER, types.DEFAULT_NEGOTIATED_VERSION)
    dispatch = Dispatch(asked.id, ServerMessageMetadata(request_context=request))
    connection = Connection.from_envelope(version, None, None)
    try:
        result = await serve_one(server, dispatch, asked.method, asked.params, connection=connection, lifespan_state={})
    except Exception as error:
        if (data := handler_exception_to_error_data(error)) is None:
            raise
        return dump(types.JSONRPCError(jsonrpc="2.0", id=asked.id, error=data))
    return dump(types.JSONRPCResponse(jsonrpc="2.0", id=asked.id, result=result))


def dump(response: types.JSONRPCResponse | types.JSONRPCError) -> str:
    return response.model_dump_json(by_alias=True, exclude_unset=True)


class LateResponse(StreamingHttpResponse):
    """Comments until there is an answer. Closed by the server, whatever became of the client."""

    def __init__(self, task: "asyncio.Task[str]") -> None:
        super().__init__(events(task), content_type=CONTENT_TYPE_SSE, headers={"Cache-Control": "no-cache, no-transform"})
        self.task, self.loop = task, asyncio.get_running_loop()

    def close(self) -> None:
        super().close()
        self.loop.call_soon_threadsafe(self.task.cancel)


async def events(task: "asyncio.Task[str]") -> AsyncGenerator[bytes, None]:
    while not task.done():
        yield b": ping\r\n\r\n"
        await asyncio.wait({task}, timeout=SILENT_SECONDS)
    yield b"event: message\r\ndata: " + task.result().encode() + b"\r\n\r\n"
