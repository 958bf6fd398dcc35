"""The OpenAPI document: what drf-spectacular reads off the views, and what it can't see there."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from http import HTTPStatus
from itertools import chain, count
from typing import Any

from django.utils.functional import cached_property
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, build_parameter_type
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.permissions import AllowAny

from api.queries import action_of, known_parameters
from api.system.openapi_operations import TAGS, examples_of, in_order, summary_of, tag_of

PROBLEM_TYPE = "application/problem+json"
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is for programs, `detail` for people.",
    "required": ["type", "title", "status", "detail", "code", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong, field by field; `field` is a path such as `loras.0.weight`.",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
            },
        },
    },
}
REFUSALS = {
    400: "The request is not valid; `errors` names the fields.",
    401: "A key is required, or this one is not valid.",
    403: "The key lacks the scope, or the page's origin is not allowed.",
    404: "There is nothing here for this key.",
    408: "The request took too long to arrive.",
    409: "Not while things are as they are: the job is still running, or was cancelled while it was waited for.",
    410: "The picture's file is no longer here.",
    411: "The body's length is missing.",
    413: "The body is over the limit.",
    415: "Neither JSON nor a form.",
    422: "This Idempotency-Key was used with another body; or the model can't be run here.",
    429: "Too many jobs of this key are queued or running, or a limit of its use is reached; Retry-After says when to try again.",
    500: "Something went wrong here.",
    502: "The model's hub, or the remote server, failed.",
    503: "Not able to take this now, or the database is away; Retry-After says when to try again.",
    504: "The remote server did not answer in time.",
    507: "The disk or the device's memory is full.",
}
JOB_FAILURES = (400, 403, 409, 410, 422, 500, 502, 503, 504, 507)
"""A failed job that was waited for is answered with the job, under the status of its error."""
BOUNDS = {"min_value": "minimum", "max_value": "maximum", "max_length": "maxLength"}
PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="RFC 7240: `respond-async` answers 202 at once, `wait=N` waits up to N seconds (300 at most).",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="The same key and body give the same job, however often they are sent.",
)
INCLUDE = OpenApiParameter(
    "include", str, OpenApiParameter.QUERY, enum=["base64"], description="`base64` adds `image_base64` to each picture."
)


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "api.access.authentication.PrincipalAuthentication"
    name = "api_key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "drk_<prefix>_<secret>",
            "description": "`manage.py create_key NAME` makes one. It may be the password of HTTP Basic instead. "
            "Not needed on the server's own machine while no key exists.",
        }


class DarkroomSchema(AutoSchema):
    """Adds what all views share: how they refuse, and for those that submit a job, how they answer."""

    @cached_property
    def submits(self) -> bool:
        from api.jobs.api.dialect import SubmitView

        return self.method == "POST" and isinstance(self.view, SubmitView)

    @property
    def action(self) -> str:
        return getattr(self.view, "action", None) or ""

    def get_tags(self) -> list[str]:
        return [tag_of(self.method, self.path)]

    def get_summary(self) -> str:
        return summary_of(self.method, self.path, self.get_description() or "")

    def get_examples(self) -> list[OpenApiExample]:
        return examples_of(self.method, self.path)

    def get_override_parameters(self) -> list[Any]:
        from api.jobs.api.dialect import Dialect

        if self.submits:
            return [PREFER, IDEMPOTENCY_KEY, *self.extras()]
        if isinstance(self.view, Dialect) and self.method == "POST":
            return [PREFER, IDEMPOTENCY_KEY]
        retried = [IDEMPOTENCY_KEY] if self.action == "retry" else []
        return [*retried, *self.extras()]

    def extras(self) -> list[OpenApiParameter]:
        return [INCLUDE] if "include" in known_parameters(self.view, action_of(self.view, self.method)) else []

    def _get_filter_parameters(self) -> list[dict[str, object]]:
        """With the bounds that the filters hold clients to."""
        parameters = super()._get_filter_parameters()
        filters = getattr(getattr(self.view, "filterset_class", None), "base_filters", {})
        for parameter in parameters:
            extra = filters[parameter["name"]].extra
            parameter["schema"] |= {keyword: extra[name] for name, keyword in BOUNDS.items() if name in extra}
        return parameters

    def _get_pagination_parameters(self) -> list[dict[str, object]]:
        parameters = super()._get_pagination_parameters()
        for parameter in parameters:
            if parameter["name"] == "limit":
                parameter["schema"] |= {"minimum": 1, "maximum": self._get_paginator().max_page_size}
        return parameters

    def get_response_serializers(self) -> Any:
        from api.jobs.api.serializers import JobSerializer

        return {201: JobSerializer, 202: JobSerializer} if self.submits else super().get_response_serializers()

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, object]:
        responses = super()._get_response_bodies(direction)
        if self.submits:
            responses["201"]["description"] = "The job has ended well."
            responses["202"]["description"] = "The job as it is now; Location says where to look for it."
            responses["202"]["headers"] = {"Location": {"schema": {"type": "string"}}}
            for status in JOB_FAILURES:
                responses[str(status)] = {"description": REFUSALS[status], "content": dict(responses["201"]["content"])}
        component, media_type = self.problem()
        for status in self.refusals():
            answer = responses.setdefault(str(status), {"description": REFUSALS[status]})
            answer.setdefault("content", {})[media_type] = {"schema": component.ref}
        return dict(sorted(responses.items()))

    def refusals(self) -> list[int]:
        """The statuses under which this operation may answer with a problem."""
        statuses = {400}  # also a foreign Host
        if AllowAny not in self.view.permission_classes:
            statuses |= {401, 403, 503}  # who may is asked of the database
        if "{" in self.path:
            statuses.add(404)
        if self.method in ("POST", "PUT", "PATCH", "DELETE"):
            statuses |= {408, 411, 413, 415, 507}
        if self.method == "DELETE":
            statuses.add(409)
        if self.submits or self.action == "retry":
            statuses |= {422, 429, 503, 507}
        if self.path == "/api/ready/":
            statuses.add(503)
        return sorted(statuses | set(getattr(self.view, "refusals", ())))

    def problem(self) -> tuple[ResolvedComponent, str]:
        """How this operation says no, and its media type: a dialect's view has a form of its own in `error_form`."""
        name, media_type, schema = getattr(self.view, "error_form", ("Problem", PROBLEM_TYPE, PROBLEM))
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name)
        self.registry.register_on_missing(component)
        return component, media_type


# ---------------------------------------------------------------- the event stream, which is no DRF view

EVENTS_PATH = "/api/jobs/{id}/events/"
LAST_EVENT_ID = build_parameter_type(
    "Last-Event-ID",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    OpenApiParameter.HEADER,
    description="Go on after this event.",
)
EVENTS_DESCRIPTION = """Server-Sent Events of one job until it has ended, from the first on or after `Last-Event-ID`.

| event | data |
|---|---|
| `status` | `{"status": …}` |
| `progress` | `{"fraction", "step", "steps"}`, with a `preview` (a data URL) every few steps |
| `token` | a piece of text, of chat jobs |
| `result` | the job's `result` |
| `error` | `{"code", "status", "detail"}` |

Each has an `id`. After 15 s of silence comes a comment line."""


def add_event_stream(result: dict[str, Any], generator: object, **kwargs: object) -> dict[str, object]:
    """A drf-spectacular post-processing hook."""
    job_id = {"in": "path", "name": "id", "required": True, "schema": {"type": "string", "format": "uuid"}}
    refused = {"schema": {"$ref": "#/components/schemas/Problem"}}
    result["paths"][EVENTS_PATH] = {
        "get": {
            "operationId": "jobs_events",
            "summary": summary_of("GET", EVENTS_PATH, ""),
            "description": EVENTS_DESCRIPTION,
            "parameters": [LAST_EVENT_ID, job_id],
            "tags": [tag_of("GET", EVENTS_PATH)],
            "security": [{KeyScheme.name: []}],
            "responses": {
                "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                **{
                    str(status): {"description": REFUSALS[status], "content": {PROBLEM_TYPE: refused}}
                    for status in (400, 401, 403, 404)
                },
            },
        }
    }
    result["paths"] = in_order(result["paths"])
    result["tags"] = TAGS
    return result


def share_repeated(result: dict[str, Any], generator: object, **kwargs: object) -> dict[str, Any]:
    """A drf-spectacular post-processing hook: responses and parameters that several operations have are said once, under `components`."""
    operations = [operation for path in result["paths"].values() for operation in path.values()]
    responses = [(one["responses"], status) for one in operations for status in one["responses"]]
    parameters = [(one["parameters"], place) for one in operations for place in range(len(one.get("parameters", ())))]
    share(result["components"], "responses", responses, lambda holder, status: HTTPStatus(int(status)).phrase.title())
    share(result["components"], "parameters", parameters, lambda holder, place: holder[place]["name"].replace("_", "-").title())
    return result


def share(components: dict[str, Any], section: str, places: list[tuple[Any, Any]], phrase: Callable[[Any, Any], str]) -> None:
    """`places`: what holds each response or parameter, and under which key."""
    counts = Counter(as_text(holder[key]) for holder, key in places)
    names: dict[str, str] = {}
    for holder, key in places:
        text = as_text(holder[key])
        if counts[text] > 1:
            names.setdefault(text, free_name(phrase(holder, key), names.values()))
            components.setdefault(section, {})[names[text]] = holder[key]
            holder[key] = {"$ref": f"#/components/{section}/{names[text]}"}


def as_text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def free_name(phrase: str, taken: Collection[str]) -> str:
    """Of letters alone, and the second of them with a 2."""
    name = re.sub(r"[^A-Za-z]", "", phrase)
    return next(one for one in chain([name], (f"{name}{number}" for number in count(2))) if one not in taken)
