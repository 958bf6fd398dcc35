"""What a new dialect costs: the API of Easel, a server that nobody has, over txt2img."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from django.http import HttpResponse, JsonResponse
from django.urls import path
from rest_framework.request import Request

from api.images.serializers import Txt2ImgSerializer
from api.jobs.api.dialect import Dialect
from api.jobs.api.streaming import JobStream
from api.jobs.api.submission import Submission
from api.jobs.models import Job, JobEvent
from config.urls import handler400, handler403, handler404, handler500, urlpatterns  # noqa: F401


class Paint(Dialect):
    source = "easel"

    def parse(self, request: Request) -> Submission:
        self.asked = cast("dict[str, Any]", request.data)
        return self.validated(Txt2ImgSerializer, {"prompt": self.asked["text"], "steps": self.asked.get("strokes")}).resolve()

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse({"canvas": self.result(job, "base64")["images"][0]["image_base64"]})

    def render_error(self, problem: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"spilt": problem["detail"]}

    def stream(self, job: Job) -> JobStream | None:
        return Strokes(job.pk) if self.asked.get("live") else None


class Strokes(JobStream):
    def encode(self, event: JobEvent) -> Iterator[bytes]:
        yield f"data: {json.dumps({event.type: event.data})}\n\n".encode()


urlpatterns = [path("easel/paint", Paint.as_view()), *urlpatterns]
