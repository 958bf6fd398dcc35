"""A chat's job in OpenAI's words: a completion, or the chunks of one."""

import json
from typing import Any

from api.chat.handler import call_json
from api.jobs.api.serializers import absolute_urls
from api.jobs.models import Job
from api.json_types import JsonObject


def head(job: Job, kind: str, conversation: str | None) -> JsonObject:
    """What is OpenAI's, and ours beside it: `backend`, `conversation` (to go on with) and `job` (its record here)."""
    return {
        "id": f"chatcmpl-{job.pk.hex}",
        "object": kind,
        "created": int(job.created_at.timestamp()),
        "model": job.model_id,
        "system_fingerprint": None,
        "service_tier": None,
        "backend": job.params["backend"],
        "conversation": conversation,
        "job": str(job.pk),
    }


def completion(job: Job, request: object = None) -> JsonObject:
    """`request`: for whose host addresses are made absolute."""
    result = job.result or {}
    return {
        **head(job, "chat.completion", result["conversation"]),
        "model": result["model"],
        "choices": [choice_of(index, choice, request) for index, choice in enumerate(result["choices"])],
        "usage": result["usage"],
        "warnings": job.warnings,
    }


def choice_of(index: int, choice: dict[str, Any], request: object) -> JsonObject:
    own = choice.get("server_tool_calls")
    calls = [call_json(call) for call in choice.get("tool_calls", ())]
    return {
        "index": index,
        "message": {
            "role": "assistant",
            "content": choice["text"] or None if calls else choice["text"],
            "refusal": None,
            **({"tool_calls": calls} if calls else {}),
            **({"server_tool_calls": absolute_urls(own, request)} if own else {}),
        },
        "logprobs": logprobs_of(choice["logprobs"]),
        "finish_reason": choice["finish_reason"],
    }


def logprobs_of(tables: list[JsonObject] | None) -> JsonObject | None:
    return {"content": tables, "refusal": None} if tables else None


def delta(index: int, content: JsonObject, *, logprobs: Any = None, finish_reason: str | None = None) -> JsonObject:
    return {"index": index, "delta": content, "logprobs": logprobs_of(logprobs), "finish_reason": finish_reason}


def sse(data: JsonObject) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


DONE = b"data: [DONE]\n\n"
