"""What the views of the AUTOMATIC1111 dialect share. They stand apart from the OpenAPI document: its clients have A1111's own built in."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.http import HttpResponse, JsonResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.scopes import Principal
from api.dialects.a1111.errors import RequestRefused, render_error
from api.jobs.api.dialect import UNTIL_IT_ENDS, Dialect
from api.jobs.models import Job
from api.json_types import JsonObject
from api.problems import Problem
from api.strict import JsonParser, JsonWithoutType

ANY_PARSERS = [*APIView.parser_classes]
"""Of what needs no body: an empty form is none, either."""


class A1111View(APIView):
    schema = None
    parser_classes: Sequence[Any] = [JsonParser]
    content_negotiation_class = JsonWithoutType

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """A body that is no object is refused where none is needed, too."""
        super().initial(request, *args, **kwargs)
        if request.method == "POST":
            read_object(request)

    def render_error(self, problem: Problem) -> JsonObject:
        return render_error(problem)

    @property
    def principal(self) -> Principal:
        return cast(Principal, self.request.auth)


class ListView(A1111View):
    """`GET` of what `read` gives, which `as_view` is told."""

    @staticmethod
    def read(principal: Principal) -> object:
        raise NotImplementedError

    def get(self, request: Request) -> Response:
        return Response(self.read(self.principal))


class A1111Dialect(A1111View, Dialect):
    """What makes a job."""

    source = "a1111"
    default_wait = UNTIL_IT_ENDS

    def render_unfinished(self, job: Job) -> HttpResponse:
        """To a client that said how long it waits (RFC 7240)."""
        return JsonResponse({"detail": f"The {self.thing} is not ready yet.", "job": str(job.pk)}, status=202)


def read_object(request: Request) -> Mapping[str, Any]:
    """The body. Raises RequestRefused."""
    if not isinstance(request.data, Mapping):
        raise RequestRefused("The body must be a JSON object.")
    return request.data
