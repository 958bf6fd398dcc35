"""Responses and their items by id."""

import re
import uuid

from rest_framework.exceptions import ValidationError

from api.access.principals import visible_to
from api.access.scopes import Principal
from api.chat.handler import ChatKind
from api.chat.services import answer_turn
from api.dialects.models import StoredResponse
from api.dialects.openai.responses.items import items_of
from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject

RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})")
ITEM_ID = re.compile(r"(?:msg|fc|fco)_([0-9a-f]{32})([io])(\d{1,6})")


def response_id(job: Job) -> str:
    return f"resp_{job.pk.hex}"


def find_response(principal: Principal, identifier: str, *, field: str | None = None) -> StoredResponse:
    """With its job. DarkroomError 404. `field`: that names it."""
    match = RESPONSE_ID.fullmatch(identifier)
    jobs = visible_to(principal, Job.objects.filter(pk=uuid.UUID(match[1]))) if match else Job.objects.none()
    found = StoredResponse.objects.filter(stored=True, job__in=jobs).select_related("job").first()
    if found is None:
        code = "previous_response_not_found" if field else "response_not_found"
        raise DarkroomError(code, 404, f"There is no response with the id '{identifier[:100]}'.", field=field)
    return found


# ---------------------------------------------------------------- items


def input_items(row: StoredResponse) -> list[JsonObject]:
    """All that the model was told but the instructions: the input, behind what it goes on with."""
    spec = ChatKind().read_spec(row.job)
    turns = spec.messages[1:] if row.asked.get("instructions") else spec.messages
    return items_of(turns, lambda prefix, number: f"{prefix}_{row.job_id.hex}i{number}")


def output_id(job: Job, prefix: str, number: int) -> str:
    return f"{prefix}_{job.pk.hex}o{number}"


def find_item(principal: Principal, identifier: str) -> JsonObject:
    """Raises ValidationError."""
    if match := ITEM_ID.fullmatch(identifier):
        jobs = visible_to(principal, Job.objects.filter(pk=uuid.UUID(match[1])))
        row = StoredResponse.objects.filter(stored=True, job__in=jobs).select_related("job").first()
        items = [] if row is None else input_items(row) if match[2] == "i" else answered_items(row)
        for item in items:
            if item["id"] == identifier:
                return item
    raise ValidationError({"id": f"There is no item with the id {identifier[:100]!r}."}, code="not_found")


def answered_items(row: StoredResponse) -> list[JsonObject]:
    job = row.job
    if job.status != Status.SUCCEEDED or not job.result:
        return []
    return items_of([answer_turn(job.result["choices"][0])], lambda prefix, number: output_id(job, prefix, number))
