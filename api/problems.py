"""Errors as `application/problem+json` (RFC 9457): one shape for everything under /api/, and never an exception's own text."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from api.errors import DarkroomError
from api.outages import outage_of

log = logging.getLogger("darkroom.request")
CONTENT_TYPE = "application/problem+json"


def problem_body(status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
    }


Form = Callable[[int, str, str], dict[str, Any]]
_forms: dict[str, Form] = {}


def register_form(prefix: str, form: Form) -> None:
    """A dialect's own shape of errors (status, code, detail), for addresses that begin with `prefix`."""
    _forms[prefix] = form


def error_body(path: str, status: int, code: str, detail: str) -> tuple[dict[str, Any], str]:
    """The body and its content type, in the form that the clients of an address read."""
    form = next((form for prefix, form in _forms.items() if path.startswith(prefix)), None)
    return (
        (problem_body(status, code, detail), CONTENT_TYPE) if form is None else (form(status, code, detail), "application/json")
    )


def problem_response(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """For what runs outside DRF: middleware, async views, Django's own error handlers."""
    body = json.dumps(problem_body(status, code, detail))
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def field_errors(detail: Any, field: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested errors, flattened: {"loras": [{}, {"weight": [e]}]} gives the field 'loras.1.weight'."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            name = "" if key == "non_field_errors" else str(key)
            yield from field_errors(value, ".".join(filter(None, (field, name))))
    elif isinstance(detail, list | tuple):
        for index, value in enumerate(detail):
            nested = isinstance(value, Mapping | list | tuple)
            yield from field_errors(value, f"{field}.{index}" if nested else field)
    else:
        yield {"field": field, "code": getattr(detail, "code", None) or "invalid", "detail": str(detail)}


def as_drf(error: Exception) -> Exception:
    if isinstance(error, Http404):
        return exceptions.NotFound()
    return exceptions.PermissionDenied() if isinstance(error, PermissionDenied) else error


def as_problem(error: Exception) -> Exception:
    """An error that says that something is away or full, as the DarkroomError that it is to a client."""
    if isinstance(error, DarkroomError | exceptions.APIException | Http404 | PermissionDenied):
        return error
    outage = outage_of(error)
    if outage is None:
        return error
    log.warning("%s: %s", outage.code, " ".join(str(error).split())[:200])
    return DarkroomError(outage.code, outage.status, outage.detail, headers=outage.headers)


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None (an unexpected error) goes on to `server_error`, which tells a client nothing of it."""
    error = as_problem(error)
    if isinstance(error, DarkroomError):
        set_rollback()
        body = problem_body(error.status, error.code, error.detail)
        return Response(body, status=error.status, headers=error.headers, content_type=CONTENT_TYPE)
    error = as_drf(error)
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    if isinstance(error, exceptions.ValidationError):
        errors = list(field_errors(error.detail))
        first = f"{errors[0]['field']}: {errors[0]['detail']}" if errors and errors[0]["field"] else "The request is not valid."
        body = problem_body(error.status_code, "invalid", first if len(errors) == 1 else "The request is not valid.", errors)
    else:
        code = error.get_codes() if isinstance(error.get_codes(), str) else error.default_code
        body = problem_body(error.status_code, str(code), str(error.detail))
    return Response(body, status=error.status_code, headers=error_headers(error), content_type=CONTENT_TYPE)


def error_headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if auth := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def wants_page(request: HttpRequest) -> bool:
    return request.path == "/" or request.path.startswith(("/admin/", "/studio/"))


def answer(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponseBase:
    if wants_page(request):
        return render(
            request, "error.html", {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}, status=status
        )
    body, content_type = error_body(request.path, status, code, detail)
    return HttpResponse(json.dumps(body), status=status, content_type=content_type)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    return answer(request, 400, "bad_request", "The request could not be read.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    return answer(request, 403, "permission_denied", "That is not allowed.")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    return answer(request, 404, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    error = sys.exc_info()[1]
    problem = as_problem(error) if isinstance(error, Exception) else None
    if isinstance(problem, DarkroomError):
        response = answer(request, problem.status, problem.code, problem.detail)
        for name, value in problem.headers.items():
            response[name] = value
        response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark; its traceback would say no more
        return response
    identifier = getattr(request, "request_id", "")
    return answer(request, 500, "internal_error", f"Something went wrong here; the log has it under request {identifier}.")
