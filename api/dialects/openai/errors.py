"""Errors in OpenAI's envelope: {"error": {"message", "type", "param", "code"}}, with the statuses its SDKs make exceptions of."""

import re
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from api.errors import DarkroomError
from api.json_types import JsonObject
from api.problems import FieldError, Problem

PREFIXES = ("/v1/", "/chat-server/")
NO_QUOTA = "insufficient_quota"
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {
    "quota_exceeded": NO_QUOTA,
    "content_filtered": "content_policy_violation",
    "prompt_refused": "content_policy_violation",
}
"""Of OpenAI's own where its clients look for one: LiteLLM makes an exception of its own of this."""
PASSING = (408, 429, 503)
"""Statuses of what may be over in a moment."""
AT_FAULT = {
    "context_length_exceeded": "messages",
    "messages_refused": "messages",
    "schema_failed": "response_format",
    "model_not_found": "model",
    "unknown_model": "model",
    "conversation_busy": "conversation",
    "unknown_class": "prompt",
    "unknown_token": "logit_bias",
    "unknown_prompt_token": "prompt",
    "no_prompt_logprobs": "logprobs",
    "too_many_dimensions": "dimensions",
}
"""The field that is to blame, by the code of a job's error."""


def envelope(status: int, code: str, message: str, param: str | None = None) -> JsonObject:
    if CODES.get(code) == NO_QUOTA:
        return {"error": {"message": message, "type": NO_QUOTA, "param": param, "code": NO_QUOTA}}
    kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param or AT_FAULT.get(code), "code": CODES.get(code, code)}}


def render_error(problem: Problem) -> JsonObject:
    """Of several fields that are wrong, all are told, and the first is `param`."""
    errors = problem["errors"]
    if not errors:
        return envelope(problem["status"], problem["code"], problem["detail"])
    messages = "; ".join(f"{param_of(error)}: {error['detail']}" for error in errors if error["field"])
    return envelope(problem["status"], errors[0]["code"], messages or errors[0]["detail"], param_of(errors[0]) or None)


def should_retry(status: int, code: object = None) -> bool:
    return status in PASSING and code != NO_QUOTA


def in_their_words(error: ValidationError, names: Mapping[str, str]) -> Exception:
    """The error with a dialect's names of our fields. A model that nobody knows is a 404, as OpenAI has it."""
    if not isinstance(error.detail, dict):
        return error
    detail: dict[str, Any] = {}
    for ours, found in error.detail.items():
        theirs = names.get(ours, ours)
        if theirs in detail and isinstance(found, list):  # one text of theirs is two fields of ours
            found = list(dict.fromkeys([*detail[theirs], *found]))
        detail[theirs] = found
    unknown = [one for one in detail.get("model", ()) if getattr(one, "code", "") == "unknown_model"]
    if len(detail) == 1 and unknown:
        return DarkroomError("model_not_found", 404, str(unknown[0]))
    return ValidationError(detail)


def param_of(error: FieldError) -> str:
    """'messages.0.content' becomes 'messages[0].content', as OpenAI writes it."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", error["field"])
