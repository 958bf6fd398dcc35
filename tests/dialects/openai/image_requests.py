"""Addresses of OpenAI's image requests, and what their answers say."""

from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

GENERATIONS, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"
Send = Callable[..., Any]


def upload(data: bytes, name: str = "upload") -> SimpleUploadedFile:
    """As SDKs send bytes."""
    return SimpleUploadedFile(name, data, "application/octet-stream")


def params_of(reply: Any) -> Any:
    assert reply.status_code == 202, reply.content
    return reply.json()["params"]


def error_of(reply: Any, status: int = 400) -> Any:
    assert reply.status_code == status, reply.content
    assert reply["Content-Type"] == "application/json"
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
    return reply.json()["error"]
