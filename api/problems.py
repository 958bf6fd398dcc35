"""Errors as `application/problem+json` (RFC 9457): one shape for everything under /api/, and never an exception's own text."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, TooManyFieldsSent, TooManyFilesSent
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import is_valid_path
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from api.errors import DarkroomError
from api.metric_definitions import outages
from api.outages import outage_of

log = logging.getLogger("darkroom.request")
CONTENT_TYPE = "application/problem+json"


def printable(text: str) -> str:
    """A client's text as JSON in UTF-8 can carry it: half of a surrogate pair becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


class FieldError(TypedDict):
    field: str
    code: str
    detail: str


class Problem(TypedDict):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError]


def problem_body(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    """Every error under /api/ is made here, and those of the dialects from it (`error_body` where there is no problem first)."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": printable(detail),
        "code": code,
        "errors": [
            {"field": printable(error["field"]), "code": printable(error["code"]), "detail": printable(error["detail"])}
            for error in errors
        ],
    }


Form = Callable[[Problem], Mapping[str, object]]
"""A problem in another server's words."""
_forms: dict[str, Form] = {}


def register_form(prefix: str, form: Form) -> None:
    """A dialect's own shape of errors, for all addresses that begin with `prefix`, whatever answers there."""
    _forms[prefix] = form


def form_of(path: str) -> Form | None:
    return next((form for prefix, form in _forms.items() if path.startswith(prefix)), None)


def error_body(path: str, status: int, code: str, detail: str) -> tuple[Mapping[str, object], str]:
    """The body and its content type, in the form that the clients of an address read."""
    return in_form(form_of(path), problem_body(status, code, detail))


def in_form(form: Form | None, problem: Problem) -> tuple[Mapping[str, object], str]:
    """The body and its content type."""
    body: Mapping[str, object] = form(problem) if form else problem
    return body, CONTENT_TYPE if body is problem else "application/json"


def problem_response(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """For what runs outside DRF: middleware, async views, Django's own error handlers."""
    body = json.dumps(problem_body(status, code, detail))
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def field_errors(detail: object, field: str = "") -> Iterator[FieldError]:
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


def as_drf(error: Exception, context: dict[str, Any]) -> Exception:
    """Django's own as DRF's; what DRF says less of than helps is said again."""
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, exceptions.UnsupportedMediaType) and not reads_anything(context["view"]):
        error.detail = exceptions.ErrorDetail(media_type_detail(context), error.default_code)
    return error


def reads_anything(view: APIView) -> bool:
    """Its parser itself says then what it does not read."""
    return any(parser.media_type == "*/*" for parser in view.parser_classes)


def media_type_detail(context: dict[str, Any]) -> str:
    given = context["request"].content_type
    begin = f"The Content-Type '{given[:100]}' is not read here" if given else "The request has a body and no Content-Type"
    taken = [parser.media_type for parser in context["view"].parser_classes]
    form = " (or a form as multipart/form-data)" if "multipart/form-data" in taken else ""
    return f"{begin}: send JSON with the header Content-Type: application/json{form}."


def as_problem(error: Exception) -> Exception:
    """An error that says that something is away or full, as the DarkroomError that it is to a client."""
    if isinstance(error, DarkroomError | exceptions.APIException | Http404 | PermissionDenied):
        return error
    outage = outage_of(error)
    if outage is None:
        return error
    outages.add(outage.code)
    log.warning("%s: %s", outage.code, " ".join(str(error).split())[:200])
    return DarkroomError(outage.code, outage.status, outage.detail, headers=outage.headers)


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None (an unexpected error) goes on to `server_error`, which tells a client nothing of it."""
    error = as_problem(error)
    if isinstance(error, DarkroomError):
        problem, headers = problem_of(error), error.headers
    else:
        error = as_drf(error, context)
        if not isinstance(error, exceptions.APIException):
            return None
        problem, headers = refusal_body(error), error_headers(error)
    set_rollback()
    body, content_type = in_form(view_form(context), problem)
    return Response(body, status=problem["status"], headers=headers, content_type=content_type)


def problem_of(error: DarkroomError) -> Problem:
    named: list[FieldError] = [{"field": error.field, "code": error.code, "detail": error.detail}] if error.field else []
    return problem_body(error.status, error.code, error.detail, named)


def view_form(context: dict[str, Any]) -> Form | None:
    """A dialect's view has its own form, any other that of its address."""
    form: Form | None = getattr(context.get("view"), "render_error", None)
    return form or form_of(getattr(context.get("request"), "path", ""))


def refusal_response(error: exceptions.APIException) -> HttpResponse:
    """The same for views outside DRF."""
    body = json.dumps(refusal_body(error))
    return HttpResponse(body, status=error.status_code, content_type=CONTENT_TYPE, headers=error_headers(error))


def refusal_body(error: exceptions.APIException) -> Problem:
    if not isinstance(error, exceptions.ValidationError):
        code = error.get_codes() if isinstance(error.get_codes(), str) else error.default_code
        return problem_body(error.status_code, str(code), str(error.detail))
    errors = list(field_errors(error.detail))
    first = f"{errors[0]['field']}: {errors[0]['detail']}" if errors and errors[0]["field"] else "The request is not valid."
    detail = first if len(errors) == 1 else "The request is not valid."
    return problem_body(error.status_code, "invalid", detail, errors)


def error_headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if auth := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def wants_page(request: HttpRequest) -> bool:
    return request.path == "/" or request.path.startswith(("/admin/", "/studio/"))


def answer(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    if wants_page(request):
        return render(
            request, "error.html", {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}, status=status
        )
    body, content_type = error_body(request.path, status, code, detail)
    return HttpResponse(json.dumps(body), status=status, content_type=content_type)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    if isinstance(exception, DisallowedHost):
        host = request.META.get("HTTP_HOST", "")[:100]
        allowed = ", ".join(settings.ALLOWED_HOSTS)
        detail = f"The host '{host}' is not one of this server's: the setting ALLOWED_HOSTS lists {allowed}."
        return answer(request, 400, "unknown_host", detail)
    if isinstance(exception, TooManyFieldsSent | TooManyFilesSent):
        fields, files = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS, settings.DATA_UPLOAD_MAX_NUMBER_FILES
        return answer(request, 400, "too_many", f"A form or a query has up to {fields} fields, and {files} files.")
    return answer(request, 400, "bad_request", "The request could not be read.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    return answer(request, 403, "permission_denied", "That is not allowed.")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    return answer(request, 404, "not_found", f"There is nothing at this address.{with_other_slash(request)}")


def with_other_slash(request: HttpRequest) -> str:
    """A hint where only the slash at the end is missing, or too much. A redirect would lose a POST's body."""
    path = request.path_info
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    if request.resolver_match is not None or wants_page(request) or not is_valid_path(other):
        return ""
    what = "without the slash at the end" if path.endswith("/") else "with a slash at the end"
    return f" Write it {what}: {other[:200]}"


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
