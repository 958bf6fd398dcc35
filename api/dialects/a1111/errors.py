"""Errors as AUTOMATIC1111 tells them: {"error", "detail", "body", "errors"}, with its statuses.

`detail` is a text, or, of fields that can't be read, FastAPI's list of {"loc", "msg", "type"}.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from api.json_types import JsonObject
from api.problems import FieldError, Problem, field_errors

PREFIXES = ("/sdapi/", "/internal/", "/controlnet/")
BAD_SAMPLER, NO_PICTURE, BAD_PICTURE = "bad_sampler", "no_init_image", "bad_picture"
STATUSES = {BAD_SAMPLER: 400, NO_PICTURE: 404, BAD_PICTURE: 500}
TEXTS = {BAD_SAMPLER: "Sampler not found", NO_PICTURE: "Init image not found", BAD_PICTURE: "Invalid encoded image"}
"""Its own words, which clients look for; what is wrong, and with which field, `errors` says."""


class RequestRefused(ValidationError):
    """With FastAPI's status for a body that isn't valid, or the one that A1111 has for this fault alone."""

    def __init__(self, detail: Any) -> None:
        super().__init__(detail)
        codes = [error["code"] for error in field_errors(self.detail)]
        self.status_code = STATUSES.get(codes[0], 422) if codes else 422


def refusal(field: str, detail: str, code: str = "invalid") -> RequestRefused:
    return RequestRefused({field: [ErrorDetail(detail, code)]})


def render_error(problem: Problem) -> JsonObject:
    errors = problem["errors"]
    if not errors:
        return form("HTTPException", problem["detail"], problem["detail"])
    text = "; ".join(f"{error['field']}: {error['detail']}" if error["field"] else error["detail"] for error in errors)
    if errors[0]["code"] in TEXTS:
        return form("HTTPException", TEXTS[errors[0]["code"]], text)
    return form("RequestValidationError", [as_fastapi(error) for error in errors], text)


def form(error: str, detail: Any, errors: str) -> JsonObject:
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def as_fastapi(error: FieldError) -> JsonObject:
    place = [int(part) if part.isdigit() else part for part in error["field"].split(".") if part]
    return {"loc": ["body", *place], "msg": error["detail"], "type": error["code"]}


def renamed(detail: object, names: Mapping[str, str]) -> object:
    """A serializer's errors, by A1111's names of the fields; whatever is wrong with a picture has the code BAD_PICTURE."""
    errors: dict[str, list[ErrorDetail]] = {}
    for error in field_errors(detail):
        code = BAD_PICTURE if is_picture(error["field"]) else error["code"]
        of_field = errors.setdefault(rename(error["field"], names), [])
        if error["detail"] not in of_field:  # two of our fields may be one of theirs
            of_field.append(ErrorDetail(error["detail"], code))
    return errors


def is_picture(field: str) -> bool:
    return field in ("image", "mask") or (field.startswith(("control.", "ip_adapter.")) and field.endswith(".image"))


def rename(field: str, names: Mapping[str, str]) -> str:
    """By the longest part of its path that has a name there."""
    parts = field.split(".")
    for length in range(len(parts), 0, -1):
        if theirs := names.get(".".join(parts[:length])):
            return ".".join([theirs, *parts[length:]])
    return field
