"""The server's entrance: Django's ASGI application behind a limit on bodies, which must be refused before they are read."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django
from django.conf import settings
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def limit_bodies(application: Application) -> Application:
    """413 for a body over MAX_BODY_BYTES, 411 for one that doesn't say its length (Django would write it all to disk first)."""
    from api.problems import error_body

    async def refuse(scope: dict[str, Any], send: Any, status: int, code: str, detail: str) -> None:
        told, content_type = error_body(scope["path"], status, code, detail)
        body = json.dumps(told).encode()
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def limited(scope: dict[str, Any], receive: Any, send: Any) -> None:
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


def with_lifespan(application: Application) -> Application:
    """Starts the embedded worker with the server, so that its models are warm before the first request."""

    async def entrance(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await application(scope, receive, send)
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if settings.JOB_RUNNER == "embedded":
                    from api.jobs.worker.supervisor import ensure_started

                    ensure_started()
                await send({"type": "lifespan.startup.complete"})
            else:
                return await send({"type": "lifespan.shutdown.complete"})

    return entrance


# Sync receivers: for them Django would give each request a thread, which it holds until its answer. There is nothing that they could
# do at a request's start: no connection outlives the work that it was opened for, and queries are not recorded.
request_started.disconnect(close_old_connections)
request_started.disconnect(reset_queries)

django.setup(set_prefix=False)

from config.threads import Handler

application = with_lifespan(limit_bodies(Handler()))
