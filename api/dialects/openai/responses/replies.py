"""A chat's job as OpenAI's Response."""

from collections.abc import Sequence
from typing import Any

from api.chat.models import Message
from api.dialects.models import StoredResponse
from api.dialects.openai.errors import CODES
from api.dialects.openai.responses.fields import flat_choice, flat_format, flat_tool
from api.dialects.openai.responses.items import call_item, text_part
from api.dialects.openai.responses.lookup import output_id, response_id
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject

STATUSES = {
    Status.QUEUED: "queued",
    Status.RUNNING: "in_progress",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
COMPLETED, INCOMPLETE, IN_PROGRESS = "completed", "incomplete", "in_progress"
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Of an incomplete answer, by a chat's reason to end."""
SAID_AGAIN = (
    "background", "max_output_tokens", "max_tool_calls", "previous_response_id", "prompt_cache_key", "safety_identifier", "store",
    "top_logprobs",
)  # fmt: skip


def render(row: StoredResponse, output: Sequence[JsonObject] | None = None) -> JsonObject:
    """`output`: as a stream told it; None for what the job's result has."""
    job = row.job
    reason = REASONS.get(finish_reason(job))
    return {
        **head(row),
        "status": INCOMPLETE if reason else STATUSES[Status(job.status)],
        "completed_at": int(job.finished_at.timestamp()) if job.status == Status.SUCCEEDED and job.finished_at else None,
        "error": {"code": CODES.get(job.error["code"], job.error["code"]), "message": job.error["detail"]}
        if job.error
        else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": job.result["model"] if job.result else job.model_id,
        "output": output_of(job) if output is None else list(output),
        "usage": usage_of(job.result["usage"]) if job.result else None,
        "warnings": job.warnings,
        **calls_of_server(job),
    }


def calls_of_server(job: Job) -> JsonObject:
    """Calls of the server's own tools, with their jobs; as in a chat completion's message."""
    calls = job.result["choices"][0].get("server_tool_calls") if job.result else None
    return {"server_tool_calls": calls} if calls else {}


def begun(row: StoredResponse, status: str) -> JsonObject:
    """As it stands before anything was written."""
    return {**render(row, ()), "status": status, "completed_at": None, "error": None, "incomplete_details": None, "usage": None}


def head(row: StoredResponse) -> JsonObject:
    """What does not change, with ours beside OpenAI's: `backend` and `job` (its record here)."""
    job, asked, params = row.job, row.asked, row.job.params
    return {
        "id": response_id(job),
        "object": "response",
        "created_at": int(job.created_at.timestamp()),
        "instructions": asked.get("instructions") or None,
        "metadata": params["metadata"],
        "parallel_tool_calls": params.get("parallel_tool_calls") is not False,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": params.get("temperature"),
        "text": {"format": flat_format(params.get("response_format")), "verbosity": "medium"},
        "tool_choice": flat_choice(params.get("tool_choice")),
        "tools": [flat_tool(tool) for tool in params.get("tools") or ()],
        "top_p": params.get("top_p"),
        "truncation": params.get("truncation", "disabled"),
        "user": params.get("user") or None,
        **{name: asked.get(name) for name in SAID_AGAIN},
        "conversation": conversation_of(job),
        "backend": params["backend"],
        "job": str(job.pk),
    }


def conversation_of(job: Job) -> JsonObject | None:
    found = job.result["conversation"] if job.result else conversation_so_far(job)
    return {"id": str(found)} if found else None


def conversation_so_far(job: Job) -> object:
    return Message.objects.filter(job=job).values_list("conversation", flat=True).first()


def finish_reason(job: Job) -> str:
    return str(job.result["choices"][0]["finish_reason"]) if job.result else ""


def output_of(job: Job) -> list[JsonObject]:
    """The answer's text is one message, in front of its calls."""
    if not job.result:
        return []
    [choice] = job.result["choices"]
    calls, items = choice.get("tool_calls", ()), []
    if choice["text"] or not calls:
        items.append(message_item(job, 0, [text_part(choice["text"], choice["logprobs"] or ())]))
    items += [{"id": output_id(job, "fc", number), **call_item(call)} for number, call in enumerate(calls, len(items))]
    items[-1]["status"] = INCOMPLETE if finish_reason(job) in REASONS else COMPLETED
    return items


def message_item(job: Job, number: int, content: list[dict[str, Any]], status: str = COMPLETED) -> dict[str, Any]:
    return {"id": output_id(job, "msg", number), "type": "message", "role": "assistant", "status": status, "content": content}


def usage_of(usage: dict[str, Any]) -> JsonObject:
    cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
