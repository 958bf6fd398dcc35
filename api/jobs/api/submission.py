"""What a request says besides its body (Prefer, Idempotency-Key, include), and the job that it becomes."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.jobs.lifecycle import submit_job
from api.jobs.models import Job
from api.jobs.states import ACTIVE
from api.jobs.webhooks import Webhook
from api.specs import Spec
from api.strict import nearest

LONGEST_WAIT = 300
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
INCLUDES = ("base64",)
ASYNC = "respond-async"


@dataclass(frozen=True)
class Submission:
    """What a serializer's `resolve` makes of valid data: the request with nothing left open, and what the queue is to know of it.

    `link` ties the job to what belongs to it, where that is more than the input files that its kind finds in the request.
    """

    spec: Spec
    priority: int = 0
    only_worker_id: uuid.UUID | None = None  # the worker that it is for
    fingerprint: Any = None  # what the client asked, before seeds were drawn: equal requests have equal ones
    link: Callable[[Job], None] | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = ()
    """What the request's own words show and the spec no longer does."""
    joins_equal: bool = False
    """Whether it means an equal one of the same owner and API that is still under way, where there is one."""


@dataclass(frozen=True)
class Preference:
    """`seconds` to wait for the job, and what to say of it in Preference-Applied."""

    seconds: float
    applied: str = ""


def read_preference(header: str, default_seconds: float | None = None) -> Preference:
    """RFC 7240. What isn't understood is ignored, as that RFC asks. None: SYNC_WAIT_SECONDS."""
    parts = [part.strip().lower() for part in header.split(",")]
    if ASYNC in parts:
        return Preference(0, ASYNC)
    for part in parts:
        if match := re.fullmatch(r"wait\s*=\s*\"?(\d{1,6})\"?", part):
            seconds = min(int(match[1]), LONGEST_WAIT)
            return Preference(seconds, f"wait={seconds}")
    return Preference(settings.SYNC_WAIT_SECONDS if default_seconds is None else default_seconds)


def read_idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["Must be 1 to 255 printable ASCII characters without spaces."]})
    return key


def read_include(request: Request) -> frozenset[str]:
    asked = frozenset(part for part in request.query_params.get("include", "").split(",") if part)
    for name in asked - set(INCLUDES):
        raise ValidationError({"include": [f"There is nothing to include by this name.{nearest(name, list(INCLUDES))}"]})
    return asked


def fingerprint(submission: Submission, webhook: Webhook | None) -> str:
    asked = submission.spec.to_json() if submission.fingerprint is None else submission.fingerprint
    all_asked = [submission.spec.kind, asked, *([webhook.to_json()] if webhook else [])]
    return hashlib.sha256(json.dumps(all_asked, sort_keys=True, default=str).encode()).hexdigest()


def find_equal(body_hash: str, *, owner_key: str, source: str) -> Job | None:
    """The newest job under way that was asked in the same words."""
    equal = Job.objects.filter(owner_key=owner_key, status__in=ACTIVE, source=source, body_hash=body_hash)
    return equal.order_by("-id").first()


def submit(
    submission: Submission,
    *,
    principal: Any,
    source: str,
    idempotency_key: str | None = None,
    webhook: Webhook | None = None,
    origin: str = "",
) -> Job:
    body_hash = fingerprint(submission, webhook)
    if submission.joins_equal and idempotency_key is None:
        earlier = find_equal(body_hash, owner_key=principal.owner_key, source=source)
        if earlier is not None:
            return earlier
    return submit_job(
        spec=submission.spec,
        priority=submission.priority,
        only_worker_id=submission.only_worker_id,
        owner_key=principal.owner_key,
        source=source,
        limits=principal.limits,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        link=submission.link,
        warnings=submission.warnings,
        webhook=webhook,
        origin=origin,
    )
