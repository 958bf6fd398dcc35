"""What OpenAI's addresses have in common: bodies without a Content-Type, the envelope of errors, and whether to try again."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from api.access.principals import Principal
from api.dialects.openai import openapi
from api.dialects.openai.errors import render_error, should_retry
from api.jobs.api.dialect import Dialect
from api.jobs.models import Job
from api.problems import Problem
from api.strict import AlwaysJson, JsonParser

PATIENCE_SECONDS = 86_400.0
"""OpenAI's clients know no 202: they are answered when the answer is there, or leave when they have waited long enough."""
SHOULD_RETRY = "x-should-retry"
"""What OpenAI's SDKs ask before their own rules, which try again on every 409, 429 and 5xx."""


class JsonWhereNothingIsSaid(AlwaysJson):
    """A body without a Content-Type is read as JSON."""

    def select_parser(self, request: Request, parsers: Iterable[object]) -> Any:
        return super().select_parser(request, parsers) if request.content_type else JsonParser()


class OpenAIView(APIView):
    error_form = openapi.ERROR
    content_negotiation_class = JsonWhereNothingIsSaid

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        return with_advice(super().finalize_response(request, response, *args, **kwargs))


class OpenAIDialect(OpenAIView, Dialect):
    """A POST that makes a job."""

    source = "openai"
    default_wait = PATIENCE_SECONDS
    refusals = openapi.REFUSALS

    @property
    def principal(self) -> Principal:
        return cast(Principal, self.request.auth)

    def render_failure(self, job: Job) -> HttpResponse:
        return with_advice(super().render_failure(job))

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)


def with_advice(response: Any) -> Any:
    """The same would happen again at once, of most errors: SDKs are told not to try."""
    if response.status_code >= 400:
        response[SHOULD_RETRY] = "true" if should_retry(response.status_code) else "false"
    return response
