"""Health, status, models, metrics and the API's own documentation."""

import json
from itertools import chain
from typing import Any, ClassVar

from django.db import DatabaseError, connection
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.scopes import Principal
from api.catalog import MODEL_ID_PATTERN
from api.errors import DarkroomError
from api.jobs.api.dialect import SubmitView
from api.jobs.api.submission import Submission
from api.problems import CONTENT_TYPE
from api.system import metrics
from api.system.json_streams import stream_json_list
from api.system.model_list import ModelList
from api.system.selectors import readiness, server_status
from api.system.serializers import (
    HealthSerializer,
    ModelCommandSerializer,
    ModelQuerySerializer,
    ModelSerializer,
    ReadyQuerySerializer,
    ReadySerializer,
    StatusSerializer,
)
from api.system.spec import LoadModelSpec, ModelSpec, UnloadModelSpec
from config.stopping import stopping


class HealthView(APIView):
    """The process answers. Open to everybody; asks nobody."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses=HealthSerializer)
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(APIView):
    """The database answers, a worker can be had, and the process is not about to end: requests may be sent here.

    Open to everybody; says no more than that.
    Where no worker can start, /api/status/ has the reason. A balancer of a fleet asks with `without_worker`: what it takes web processes
    out for must not be that workers are restarted.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    query_parameters: ClassVar[dict[str, tuple[str, ...]]] = {"get": ("without_worker",)}

    @extend_schema(parameters=[ReadyQuerySerializer], responses=ReadySerializer)
    def get(self, request: Request) -> Response:
        query = ReadyQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        if stopping.has_begun:
            raise DarkroomError(
                "stopping", 503, "This web process is about to end; others answer.", headers={"Retry-After": "1"}
            )
        try:
            state = readiness()
        except DatabaseError:
            connection.close()
            raise DarkroomError("no_database", 503, "The database does not answer.", headers={"Retry-After": "5"}) from None
        if state == "no_worker" and not query.validated_data["without_worker"]:
            raise DarkroomError("no_worker", 503, "No worker is alive to run jobs.", headers={"Retry-After": "5"})
        return Response({"status": "loading" if state == "loading" else "ok"})


class StatusView(APIView):
    """What the server is doing, and on which machines."""

    @extend_schema(responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        return Response(StatusSerializer(server_status()).data)


class ModelsView(APIView):
    """Every model that may be named in a request; with `kind` also the LoRAs, embeddings and other files of the library."""

    query_parameters: ClassVar[dict[str, tuple[str, ...]]] = {"get": ("kind", "family", "q", "limit")}

    @extend_schema(operation_id="models_list", parameters=[ModelQuerySerializer], responses=ModelSerializer(many=True))
    def get(self, request: Request) -> Response | StreamingHttpResponse:
        query = ModelQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        models = ModelList(**query.validated_data, with_paths=may_see_paths(request))
        headers = {"X-Total-Count": str(models.total)}
        if min(models.total, models.limit) > MOST_AT_ONCE:
            return stream_json_list(request._request, models.batches(), headers)
        return Response(list(chain.from_iterable(models.batches())), headers=headers)


MOST_AT_ONCE = 1000
"""Models in one answer that is made whole in memory."""


def may_see_paths(request: Request) -> bool:
    return isinstance(request.auth, Principal) and request.auth.is_staff


MODEL_ID = OpenApiParameter(
    "model_id",
    {"type": "string", "pattern": f"^{MODEL_ID_PATTERN}$"},
    OpenApiParameter.PATH,
    description="Its id, with its slashes; or its hub repository's name.",
)


@extend_schema(parameters=[MODEL_ID])
class ModelCommandView(SubmitView):
    serializer_class = ModelCommandSerializer
    required_scope = "staff"
    spec: type[ModelSpec]

    def parse_body(self, request: Request) -> Submission:
        return self.validated(ModelCommandSerializer, request.data, spec=self.spec, **self.kwargs).resolve()  # type: ignore[no-any-return]


class LoadModelView(ModelCommandView):
    """Bring a model into a worker's memory ahead of use; its weights are fetched where they are missing."""

    spec = LoadModelSpec


class UnloadModelView(ModelCommandView):
    """Free a model's memory. 409 while it is in use."""

    spec = UnloadModelSpec


class MetricsView(APIView):
    """For Prometheus, in its text format."""

    @extend_schema(responses={(200, "text/plain"): str})
    def get(self, request: Request) -> HttpResponse:
        body, content_type = metrics.render(request.headers.get("Accept", ""))
        return HttpResponse(body, headers={"Content-Type": content_type})


class SchemaView(SpectacularAPIView):
    """This document."""

    renderer_classes = [OpenApiJsonRenderer2]


class DocsView(SpectacularSwaggerView):
    """Swagger UI, its assets served from here. Who has no session is sent to log in; a wrong key is told so."""

    url_name = "schema"
    http_method_names = ["get", "head"]  # an answer to OPTIONS would need a template of its own

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, APIException) and exc.status_code == 401 and "Authorization" not in self.request.headers:
            return redirect(f"{reverse('studio-login')}?next={self.request.path}")
        response = super().handle_exception(exc)
        headers = {**response.headers, "Content-Type": CONTENT_TYPE}
        return HttpResponse(json.dumps(response.data), status=response.status_code, headers=headers)
