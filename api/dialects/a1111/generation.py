"""`POST /sdapi/v1/txt2img` and `/sdapi/v1/img2img`: an ordinary job, told as A1111 does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.dialects.a1111.errors import NO_PICTURE, RequestRefused, refusal, renamed, render_error
from api.dialects.a1111.fields import Img2ImgFields, Txt2ImgFields
from api.dialects.a1111.hires import put_hires
from api.dialects.a1111.info import make_echo, make_info
from api.dialects.a1111.painting import put_painting
from api.dialects.a1111.translation import NAMES, Translated, translate
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.problems import Problem
from api.strict import JsonParser

PATIENCE_SECONDS = 86_400.0
"""A1111's clients know no 202: they are answered when the pictures are there, or leave when they have waited long enough."""


class GenerationView(Dialect):
    """A subclass says what its body has beside the fields of both."""

    parser_classes = [JsonParser]
    source = "a1111"
    thing = "picture"
    default_wait = PATIENCE_SECONDS
    fields_class: ClassVar[Any]
    serializer_class: ClassVar[Any]

    def put_own(self, translated: Translated) -> None:
        raise NotImplementedError

    def parse(self, request: Request) -> Submission:
        try:
            self.body = self.validated(self.fields_class, request.data).validated_data
            translated = translate(self.body, request.auth)
            self.put_own(translated)
            return self.submission(translated)
        except RequestRefused:
            raise
        except ValidationError as error:
            raise RequestRefused(error.detail) from None

    def submission(self, translated: Translated) -> Submission:
        try:
            submission: Submission = self.validated(self.serializer_class, translated.request).resolve()
        except ValidationError as error:
            raise RequestRefused(renamed(error.detail, NAMES)) from None
        warnings = (*translated.warnings, *submission.warnings)
        if not translated.drawn:
            return replace(submission, warnings=warnings)
        asked = {**submission.fingerprint, "variation": {"strength": self.body["subseed_strength"]}}
        return replace(submission, warnings=warnings, fingerprint=asked)

    def render(self, job: Job) -> HttpResponse:
        images = self.result(job, "base64")["images"]
        sent = [image["image_base64"] for image in images if image["image_base64"]] if self.body["send_images"] else []
        return JsonResponse(
            {"images": sent, "parameters": make_echo(job, self.body), "info": make_info(job, self.body, images)}
        )

    def render_unfinished(self, job: Job) -> HttpResponse:
        """To a client that said how long it waits (RFC 7240)."""
        return JsonResponse({"detail": "The picture is not ready yet.", "job": str(job.pk)}, status=202)

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)


class Txt2ImgView(GenerationView):
    """Make pictures from a prompt."""

    fields_class = Txt2ImgFields
    serializer_class = Txt2ImgSerializer

    def put_own(self, translated: Translated) -> None:
        put_hires(translated)


class Img2ImgView(GenerationView):
    """Make pictures from a picture and a prompt; with a mask, paint a part of it anew."""

    fields_class = Img2ImgFields
    serializer_class = Img2ImgSerializer

    def put_own(self, translated: Translated) -> None:
        if not translated.body["init_images"]:
            raise refusal("init_images", "There is no picture to begin with.", NO_PICTURE)
        put_painting(translated)
