"""A chat's job in OpenAI's words: a completion, or the chunks of one."""

import json
from typing import Any

from api.jobs.models import Job


def head(job: Job, kind: str, conversation: str | None) -> dict[str, Any]:
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


def completion(job: Job) -> dict[str, Any]:
    result = job.result or {}
    return {
        **head(job, "chat.completion", result["conversation"]),
        "model": result["model"],
        "choices": [choice_of(index, choice) for index, choice in enumerate(result["choices"])],
        "usage": result["usage"],
        "warnings": job.warnings,
    }


def choice_of(index: int, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": choice["text"], "refusal": None},
        "logprobs": logprobs_of(choice["logprobs"]),
        "finish_reason": choice["finish_reason"],
    }


def logprobs_of(tables: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    return {"content": tables, "refusal": None} if tables else None


def delta(index: int, content: dict[str, Any], *, logprobs: Any = None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": content, "logprobs": logprobs_of(logprobs), "finish_reason": finish_reason}


def sse(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


DONE = b"data: [DONE]\n\n"
