"""`POST /mcp`: streamable HTTP, without sessions in memory. The package behind it is imported with the first request that has a key."""

import asyncio
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException

from api.access.principals import principal_of
from api.dialects.mcp.calls import SESSION, Caller, cancel_request, cancelled_request, new_session
from api.dialects.mcp.errors import refusal, respond, unreadable
from api.dialects.mcp.exchange import Service
from api.jobs.api.database_calls import in_thread
from api.json_text import InvalidJson, read_json
from api.json_types import JsonObject
from api.problems import problem_body

CALLER = "darkroom.caller"
"""In the scope that the package's application is called with."""
LONGEST_SESSION = 100
JSON_TYPE = "application/json"
"""A body without a Content-Type is read as that, as everywhere here."""
NO_STREAM = "There is nothing to GET or DELETE here: no session is kept, and every answer comes with its POST."

_services: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Service]]" = WeakKeyDictionary()


@csrf_exempt
async def mcp_endpoint(request: HttpRequest) -> HttpResponseBase:
    """Access as everywhere: key, local requests while there is none, origin, host."""
    try:
        caller, message = await in_thread(read, request)
    except APIException as error:
        return refusal(error)
    except InvalidJson as error:
        return unreadable(error.detail, error.code, error.field)
    if request.method != "POST":
        return respond(problem_body(405, "method_not_allowed", NO_STREAM), headers={"Allow": "POST"})
    if (sent_as := request.content_type or JSON_TYPE) != JSON_TYPE:
        detail = f"'{sent_as[:100]}' is not read here: send {JSON_TYPE}."
        return respond(problem_body(415, "unsupported_media_type", detail))
    if fault := fault_of(message):
        return respond(problem_body(400, "invalid", fault))
    return await answer(caller, message)  # type: ignore[arg-type]  # what has no fault is an object


def read(request: HttpRequest) -> tuple[Caller, object]:
    """Who asks, and of a POST what."""
    caller = Caller(request, principal_of(request), request.headers.get(SESSION, "")[:LONGEST_SESSION])
    return caller, read_json(request.body) if request.method == "POST" else None


def fault_of(message: object) -> str:
    """Why it is no message of the protocol; '' where it is one. What it asks for is not looked at."""
    if not isinstance(message, dict):
        return "The body must be one JSON-RPC message, an object: batches are no part of the protocol."
    if message.get("jsonrpc") != "2.0":
        return 'A JSON-RPC message has "jsonrpc": "2.0".'
    if not isinstance(message.get("method"), str) and not {"result", "error"} & message.keys():
        return "A JSON-RPC message has a `method`, a text."
    if "id" in message and (isinstance(message["id"], bool) or not isinstance(message["id"], str | int)):
        return "The `id` of a JSON-RPC request is a text or a whole number."
    return "" if isinstance(message.get("params", {}), dict) else "The `params` of a JSON-RPC message are an object."


async def answer(caller: Caller, message: JsonObject) -> HttpResponseBase:
    if (cancelled := cancelled_request(message)) is not None:
        cancel_request(caller, cancelled)
    scope = scope_of(caller)
    service = await find_service()
    response = await service(scope, caller.request.body, message)
    if message.get("method") == "initialize":
        response[SESSION] = new_session()
    return response


def scope_of(caller: Caller) -> dict[str, Any]:
    """What the package's application is called with: it refuses a body whose type isn't said."""
    scope: dict[str, Any] = {**caller.request.scope, CALLER: caller}  # type: ignore[attr-defined]  # an ASGIRequest
    if not caller.request.content_type:
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
        scope["headers"] = [*headers, (b"content-type", JSON_TYPE.encode())]
    return scope


async def find_service() -> Service:
    """Of this event loop: there is one in a web process, and one for each request of Django's test client."""
    loop = asyncio.get_running_loop()
    if loop not in _services or has_failed(_services[loop]):
        _services[loop] = loop.create_task(start_service())
    return await asyncio.shield(_services[loop])


def has_failed(task: "asyncio.Task[Service]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def start_service() -> Service:
    """In a thread: the event loop goes on while the package is imported."""
    module = await asyncio.to_thread(import_module, "api.dialects.mcp.server")
    service: Service = await module.start()
    return service
