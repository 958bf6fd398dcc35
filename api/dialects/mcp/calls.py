"""Which jobs belong to a client's request. `notifications/cancelled` is a request of its own, which may reach another web process.

So it is the history that knows: a job's idempotency key is made of the client's session and of its request's id, and is unique for each
owner.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest

from api.access.scopes import Principal
from api.jobs.api.database_calls import in_thread_when_back
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job

SESSION = "Mcp-Session-Id"
CANCELLED = "notifications/cancelled"
MOST_JOBS = 8
"""Of one call."""
LATE_SECONDS = (0.0, 0.5, 2.0)
"""When the jobs are looked for: a client may cancel while another process still submits them."""

_background: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Caller:
    """Who sent a request to /mcp, and in which session ('': in none)."""

    request: HttpRequest
    principal: Principal
    session: str

    def job_keys(self, request_id: object) -> list[str]:
        """Idempotency keys of the jobs of a call, one for each; none without a session: other clients count from 1 as well."""
        if not self.session or not isinstance(request_id, str | int):
            return []
        text = json.dumps([self.session, request_id])
        digest = hashlib.sha256(text.encode()).hexdigest()[:40]
        return [f"mcp-{digest}-{place}" for place in range(MOST_JOBS)]


def new_session() -> str:
    return uuid.uuid4().hex


def cancelled_request(message: object) -> object:
    """The id of the request that a message cancels; None where it cancels none."""
    if not isinstance(message, Mapping) or message.get("method") != CANCELLED:
        return None
    parameters: Any = message.get("params")
    return parameters.get("requestId") if isinstance(parameters, Mapping) else None


def cancel_request(caller: Caller, request_id: object) -> None:
    """Beside the answer, which says nothing of it."""
    if keys := caller.job_keys(request_id):
        start(cancel_when_found(caller.principal.owner_key, keys))


async def cancel_when_found(owner_key: str, keys: Collection[str]) -> None:
    for seconds in LATE_SECONDS:
        await asyncio.sleep(seconds)
        if await in_thread_when_back(partial(cancel_by_key, owner_key, keys)):
            return


def cancel_by_key(owner_key: str, keys: Collection[str]) -> int:
    jobs = list(Job.objects.filter(owner_key=owner_key, idempotency_key__in=keys))
    cancel_jobs(jobs)
    return len(jobs)


def cancel_jobs(jobs: Collection[Job]) -> None:
    for job in Job.objects.filter(pk__in=[job.pk for job in jobs]):
        cancel_job(job=job)


def leave(jobs: Collection[Job]) -> None:
    """The client is gone. In a task of its own: the request's is being cancelled itself."""
    start(in_thread_when_back(partial(cancel_jobs, jobs)))


def start(work: Any) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
