"""What OpenAI's addresses have in common: bodies without a Content-Type, the envelope of errors, and whether to try again."""

import json
from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.principals import Principal
from api.dialects.openai import openapi
from api.dialects.openai.errors import render_error, should_retry
from api.jobs.api.dialect import UNTIL_IT_ENDS, Dialect
from api.jobs.models import Job
from api.problems import Problem
from api.strict import JsonWithoutType

SHOULD_RETRY = "x-should-retry"
"""What OpenAI's SDKs ask before their own rules, which try again on every 409, 429 and 5xx."""


class OpenAIView(APIView):
    error_form = openapi.ERROR
    content_negotiation_class = JsonWithoutType

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        return with_advice(super().finalize_response(request, response, *args, **kwargs))


class OpenAIDialect(OpenAIView, Dialect):
    """A POST that makes a job."""

    source = "openai"
    default_wait = UNTIL_IT_ENDS
    refusals = openapi.REFUSALS

    @property
    def principal(self) -> Principal:
        return cast(Principal, self.request.auth)

    def render_failure(self, job: Job) -> HttpResponse:
        return with_advice(super().render_failure(job))

    def render_restarting(self, job: Job) -> HttpResponse:
        return with_advice(super().render_restarting(job))

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)


def with_advice(response: Any) -> Any:
    """The same would happen again at once, of most errors: SDKs are told not to try."""
    if response.status_code >= 400:
        response[SHOULD_RETRY] = "true" if should_retry(response.status_code, code_of(response)) else "false"
    return response


def code_of(response: Any) -> object:
    """Of a 429's error, which is another one for a limit that is used up."""
    if response.status_code != 429:
        return None
    body = response.data if isinstance(response, Response) else json.loads(response.content)
    return body["error"]["code"]
