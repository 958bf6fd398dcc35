"""The server's entrance: Django's ASGI application behind a limit on bodies, which must be refused before they are read."""

import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries

from api.metric_definitions import outages
from api.outages import outage_of

log = logging.getLogger("darkroom.request")
Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


async def refuse(
    scope: dict[str, Any], send: Any, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    """Outside Django, in the form that the address's clients read."""
    from api.problems import error_body

    document, content_type = error_body(scope["path"], status, code, detail)
    body = json.dumps(document).encode()
    named = {"content-type": content_type, "content-length": str(len(body)), "connection": "close", **(headers or {})}
    lines = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def limit_bodies(application: Application) -> Application:
    """413 for a body over MAX_BODY_BYTES, 411 for one that doesn't say its length (Django would write it all to disk first)."""

    async def limited(scope: dict[str, Any], receive: object, send: object) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            length = headers.get(b"content-length")
            if length is None and b"transfer-encoding" in headers:
                await refuse(scope, send, 411, "length_required", "Send the body with a Content-Length.")
                return
            if length is not None and length.isdigit() and int(length) > settings.MAX_BODY_BYTES:
                limit = settings.MAX_BODY_BYTES // 2**20
                await refuse(scope, send, 413, "body_too_large", f"The body is over the limit of {limit} MiB.")
                return
        await application(scope, receive, send)

    return limited


def answer_failures(application: Application) -> Application:
    """For what fails before Django has a request, and after its own handlers: a body that fits on no disk, no thread to be had."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        begun = False

        async def watched(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await application(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            if (outage := outage_of(error)) is None:
                log.exception("%s %s", scope["method"], scope["path"])
                await refuse(scope, send, 500, "internal_error", "Something went wrong here; the log has it.")
            else:
                outages.add(outage.code)
                log.warning("%s %s: %s", scope["method"], scope["path"], outage.code)
                await refuse(scope, send, outage.status, outage.code, outage.detail, outage.headers)

    return guarded


def start_threads() -> None:
    from api.system.totals import ensure_adding
    from api.system.versions import start_reporting
    from api.webhooks.reader import ensure_started

    ensure_started()
    ensure_adding()
    start_reporting("web")


def with_lifespan(application: Application) -> Application:
    """Starts what runs beside requests: the embedded worker, so that its models are warm before the first of them, and threads."""

    async def entrance(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await application(scope, receive, send)
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if settings.JOB_RUNNER == "embedded":
                    from api.jobs.worker.supervisor import ensure_started

                    ensure_started()
                start_threads()
                await send({"type": "lifespan.startup.complete"})
            else:
                return await send({"type": "lifespan.shutdown.complete"})

    return entrance


# Sync receivers: for them Django would give each request a thread, which it holds until its answer. There is nothing that they could
# do at a request's start: no connection outlives the work that it was opened for, and queries are not recorded.
request_started.disconnect(close_old_connections)
request_finished.disconnect(close_old_connections)  # each thread gives its own back (threads.py), and keeps that to SQLite
request_started.disconnect(reset_queries)

django.setup(set_prefix=False)

from config.threads import Handler

application = with_lifespan(answer_failures(limit_bodies(Handler())))
