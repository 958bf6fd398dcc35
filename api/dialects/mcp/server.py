"""What the official package is told: who we are, the tools, the pictures as resources. It speaks the protocol, in all its versions."""

import asyncio
import logging
from functools import partial
from typing import Any

import mcp_types as types
from django.conf import settings
from django.http.response import HttpResponseBase
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from rest_framework.exceptions import APIException
from starlette.requests import Request

from api.access.principals import missing_scope
from api.access.scopes import READ
from api.dialects.mcp import direct, resources
from api.dialects.mcp.calls import Caller
from api.dialects.mcp.errors import respond
from api.dialects.mcp.exchange import Application, Exchange, Message, Service
from api.dialects.mcp.following import Call, Report
from api.dialects.mcp.tools import TOOLS
from api.dialects.mcp.tools.base import Tool
from api.dialects.mcp.views import CALLER
from api.errors import DarkroomError
from api.jobs.api.database_calls import in_thread
from api.problems import Problem, as_drf, as_problem, problem_body, problem_of, refusal_body
from config.logs import request_id

log = logging.getLogger("darkroom.mcp")
Context = ServerRequestContext[Any, Any]
Page = types.PaginatedRequestParams
INSTRUCTIONS = (
    "Darkroom makes pictures, finds them again and looks at them, all on its owner's machine. Every picture has an id: tools return it and "
    "take it wherever a picture is asked for. Tell people the URL of a picture; it opens with their key. Prompts are best in English. A "
    "tool's error names the argument that is wrong."
)
UNEXPECTED = "Something went wrong here; the log has it under request {}."

logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of every request that it begins and ends


async def start() -> Service:
    """What answers; its tasks live as long as this event loop."""
    server = build()
    ready: asyncio.Future[Application] = asyncio.get_running_loop().create_future()
    _serving.add(task := asyncio.get_running_loop().create_task(serve(server, ready)))
    task.add_done_callback(_serving.discard)
    return partial(answer_request, server, await ready)


async def answer_request(
    server: Server[Any], transport: Application, scope: Message, body: bytes, message: Message
) -> HttpResponseBase:
    request = Request(scope)
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER, LATEST_HANDSHAKE_VERSION)
    if version not in KNOWN_PROTOCOL_VERSIONS:
        # the package takes it for one of the newest kind, and misses that one's envelope
        known = ", ".join(KNOWN_PROTOCOL_VERSIONS)
        detail = f"{MCP_PROTOCOL_VERSION_HEADER}: there is no version '{version[:100]}' of the protocol here. Known: {known}."
        return respond(problem_body(400, "unknown_version", detail))
    if direct.suits(message, request):
        return await direct.answer(server, message, request)
    return await Exchange(transport, scope, body).response()


_serving: set[asyncio.Task[None]] = set()


async def serve(server: Server[Any], ready: "asyncio.Future[Application]") -> None:
    """Stateless: any web process answers any request. Access, hosts and origins are the view's part."""
    manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=settings.MAX_BODY_BYTES)
    async with manager.run():
        ready.set_result(manager.handle_request)  # type: ignore[arg-type]  # Starlette's types of the same
        await asyncio.Event().wait()


def build() -> Server[Any]:
    server: Server[Any] = Server(
        "darkroom",
        version=str(settings.SPECTACULAR_SETTINGS["VERSION"]),
        title="Darkroom",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=lambda name: None,  # no argument is asked for as a header of HTTP, too
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )
    server.middleware.clear()  # OpenTelemetry's spans, which go nowhere
    return server


def caller_of(context: Context) -> Caller:
    request: Any = context.request  # Starlette's, of the scope that the view made
    caller: Caller = request.scope[CALLER]
    return caller


# ---------------------------------------------------------------- tools


async def list_tools(context: Context, page: Page | None) -> types.ListToolsResult:
    """Those that the key may call."""
    principal = caller_of(context).principal
    return types.ListToolsResult(tools=[describe(tool) for tool in TOOLS.values() if principal.may(tool.scope)])


def describe(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=tool.output,
        annotations=tool.annotations,
    )


async def call_tool(context: Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
    if (tool := TOOLS.get(asked.name)) is None:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool '{asked.name[:100]}'. Known: {', '.join(TOOLS)}.")
    call = Call(caller_of(context), context.request_id, asked.arguments or {}, report_to(context))
    try:
        check_scope(call.caller, tool.scope)
        reply = await tool.call(call)
    except Exception as error:
        return tool_error(problem_for(error))
    return types.CallToolResult(content=[*reply.content], structured_content=reply.structured)


def report_to(context: Context) -> Report | None:
    """None where the client asked for no progress."""
    if progress_token_from_params(context.params) is None:
        return None

    async def report(fraction: float, sentence: str) -> None:
        await context.session.report_progress(fraction, 1.0, sentence)

    return report


def check_scope(caller: Caller, scope: str) -> None:
    if not caller.principal.may(scope):
        raise missing_scope(scope)


def problem_for(error: Exception) -> Problem:
    """In the API's own words. What nobody expected is in the log alone."""
    error = as_problem(error)
    if isinstance(error, DarkroomError):
        return problem_of(error)
    error = as_drf(error, {"view": None})
    if isinstance(error, APIException):
        return refusal_body(error)
    log.exception("A call failed", exc_info=error)
    return problem_of(DarkroomError("internal_error", 500, UNEXPECTED.format(request_id.get())))


def tool_error(problem: Problem) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=sentence_of(problem))], is_error=True)


def sentence_of(problem: Problem) -> str:
    """Every field that is wrong, by its name, so that the next call can be right."""
    named = [f"{error['field']}: {error['detail']}" if error["field"] else error["detail"] for error in problem["errors"]]
    return "\n".join(named) or problem["detail"]


# ---------------------------------------------------------------- resources


async def list_resources(context: Context, page: Page | None) -> types.ListResourcesResult:
    caller = reader_of(context)
    found, following = await answer(resources.newest, caller, page.cursor if page else None)
    return types.ListResourcesResult(resources=found, next_cursor=following)


async def list_templates(context: Context, page: Page | None) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=[resources.TEMPLATE])


async def read_resource(context: Context, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    caller = reader_of(context)
    return types.ReadResourceResult(contents=[await answer(resources.read, caller, str(asked.uri))])


def reader_of(context: Context) -> Caller:
    caller = caller_of(context)
    if not caller.principal.may(READ):
        raise MCPError(types.INVALID_REQUEST, str(missing_scope(READ).detail))
    return caller


async def answer(function: Any, *arguments: Any) -> Any:
    """An error of ours as the protocol's."""
    try:
        return await in_thread(function, *arguments)
    except Exception as error:
        problem = problem_for(error)
    raise MCPError(code_for(problem), sentence_of(problem), {"status": problem["status"], "code": problem["code"]})


def code_for(problem: Problem) -> int:
    return types.INVALID_PARAMS if problem["status"] < 500 else types.INTERNAL_ERROR
