"""What the older servers' APIs share: they answer what a job became in their own words, with no job and no 202 in them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from django.utils.datastructures import MultiValueDict
from rest_framework.request import Request

from api.form_data import read_form
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import WebhookField
from api.jobs.models import Job
from api.json_types import JsonObject
from api.problems import Problem
from api.strict import parse_json_text

PREFIXES = ("/generate", "/score", "/health")


def detail_alone(problem: Problem) -> JsonObject:
    """Their errors."""
    return {"detail": problem["detail"]}


class OlderView(Dialect):
    """A subclass translates bodies and results."""

    schema = None
    serializer_class: ClassVar[Any]
    form_fields: ClassVar[Mapping[str, object]] = {"webhook": WebhookField(required=False)}
    """What a form's texts are read as, where that isn't what they are."""

    def translate_request(self, data: object) -> Any:
        """Into the body that `serializer_class` reads. A body that is no object stays what it is, to be refused."""
        raise NotImplementedError

    def parse(self, request: Request) -> Submission:
        data = request.data
        if isinstance(data, MultiValueDict):
            data = read_form(
                data, self.form_fields, parse_json_text
            )  # one value a field; what is JSON in it, the translation knows
        return self.validated(self.serializer_class, self.translate_request(data)).resolve()  # type: ignore[no-any-return]

    def render_unfinished(self, job: Job) -> HttpResponse:
        """202 to a client that said how long it waits (RFC 7240), and 504 to one that knows only these servers."""
        answer = {"detail": f"The {self.thing} is not ready yet.", "job": str(job.pk)}
        return JsonResponse(answer, status=202 if self.preference.applied else 504)

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return detail_alone(problem)
