"""`POST /sdapi/v1/extra-single-image` and `extra-batch-images`: pictures that are enlarged, each by a job of its own.

With the upscaler "None", which is the default, pictures come back as they are, and there is no job.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.dialects.a1111 import options
from api.dialects.a1111.errors import RequestRefused, renamed
from api.dialects.a1111.fields import LenientFields, PictureField, any_value, number, switch, text, whole
from api.dialects.a1111.option_table import FORMAT, FORMAT_NAMES
from api.dialects.a1111.several import SeveralJobsView
from api.dialects.a1111.upscalers import NONE, find_upscaler
from api.files.models import StoredFile
from api.files.services import read_file
from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject

BY_FACTOR, TO_SIZE = 0, 1
MOST_PICTURES = 64
UNMET = dict.fromkeys(("gfpgan_visibility", "codeformer_visibility"), "Nothing restores faces here.")
"""What is refused where it is more than 0."""
BY_FACTOR_NAMES = dict.fromkeys(("scale", "width", "height"), "upscaling_resize")
TO_SIZE_NAMES = {"width": "upscaling_resize_w", "height": "upscaling_resize_h", "scale": "upscaling_resize_w"}
"""Our fields, by which of theirs they came."""


class ExtrasFields(LenientFields):
    resize_mode = whole(BY_FACTOR, low=BY_FACTOR, high=TO_SIZE)
    show_extras_results = switch(True)
    """Clients send false, and read the picture all the same: to A1111 it says something of whole folders alone."""
    gfpgan_visibility = number(0.0, low=0, high=1)
    codeformer_visibility = number(0.0, low=0, high=1)
    codeformer_weight = number(0.0, low=0, high=1)
    upscaling_resize = number(2.0, low=0, high=100)
    upscaling_resize_w = whole(512, low=1)
    upscaling_resize_h = whole(512, low=1)
    upscaling_crop = switch(True)
    upscaler_1 = text(NONE)
    upscaler_2 = text(NONE)
    extras_upscaler_2_visibility = number(0.0, low=0, high=1)
    upscale_first = switch()
    webhook = any_value()

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if unmet := {name: [reason] for name, reason in UNMET.items() if data[name] > 0}:
            raise ValidationError(unmet, code="unsupported")
        if data["webhook"] is not None and not enlarges(data):
            raise ValidationError({"webhook": ["There is no job to tell of without an upscaler_1."]}, code="unsupported")
        return data


def enlarges(body: Mapping[str, Any]) -> bool:
    return names_one(body["upscaler_1"])


def names_one(upscaler: str) -> bool:
    return upscaler.strip().lower() not in (NONE.lower(), "")


class SingleFields(ExtrasFields):
    image = PictureField()


class SentFileFields(serializers.Serializer[Any]):
    data = PictureField()  # type: ignore[assignment]  # DRF takes declared fields out of the class
    name = serializers.CharField(max_length=1000, allow_blank=True, required=False)


class BatchFields(ExtrasFields):
    imageList = serializers.ListField(  # noqa: N815  # A1111's name
        child=SentFileFields(), min_length=1, max_length=MOST_PICTURES
    )


class ExtrasView(SeveralJobsView):
    """A subclass says which pictures a body has, and how they are given back."""

    thing = "picture"
    fields_class: ClassVar[type[ExtrasFields]]

    def give_back(self, pictures: Sequence[str]) -> JsonObject:
        """`pictures`: base64."""
        raise NotImplementedError

    def read_body(self, request: Request) -> None:
        try:
            self.body = self.validated(self.fields_class, request.data).validated_data
        except ValidationError as error:
            raise RequestRefused(error.detail) from None

    def post(self, request: Request, **kwargs: object) -> HttpResponseBase:
        self.read_body(request)
        if enlarges(self.body):
            return self.submit_all(request)
        kept = [base64.b64encode(read_file(self.stored(field, sent))).decode() for field, sent in self.pictures()]
        return JsonResponse(self.answer_with(kept, ""))

    def submission_of(self, field: str, sent: str) -> Submission:
        """Raises RequestRefused."""
        file = self.stored(field, sent)
        model_id, blend = self.upscaler("upscaler_1"), self.blend()
        output_format = FORMAT_NAMES[options.get(self.principal)[FORMAT]]
        asked: JsonObject = {"image": str(file.pk), "model_id": model_id, "blend": blend, "output_format": output_format}
        asked |= {"webhook": self.body["webhook"], **size_asked(self.body, file)}
        try:
            return self.validated(UpscaleSerializer, asked).resolve()  # type: ignore[no-any-return]
        except ValidationError as error:
            sides = TO_SIZE_NAMES if self.body["resize_mode"] == TO_SIZE else BY_FACTOR_NAMES
            raise RequestRefused(renamed(error.detail, {"image": field, "output_format": FORMAT, **sides})) from None

    def upscaler(self, field: str) -> str:
        """Raises RequestRefused."""
        try:
            return find_upscaler(self.body[field])
        except ValidationError as error:
            raise RequestRefused({field: error.detail}) from None

    def blend(self) -> JsonObject | None:
        """As much of the second upscaler's picture as is to be seen. Raises RequestRefused."""
        weight = self.body["extras_upscaler_2_visibility"]
        if not weight or not names_one(self.body["upscaler_2"]):
            return None
        return {"model_id": self.upscaler("upscaler_2"), "weight": weight}

    # ------------------------------------------------------------ the answer

    def render_all(self, jobs: Sequence[Job]) -> HttpResponse:
        pictures = [self.result(job, "base64")["images"][0]["image_base64"] for job in jobs]
        return JsonResponse(self.answer_with(pictures, describe(self.body)))

    def answer_with(self, pictures: Sequence[str], info: str) -> JsonObject:
        return {"html_info": f"<p>{html.escape(info)}</p>", **self.give_back(pictures)}


class ExtraSingleView(ExtrasView):
    fields_class = SingleFields

    def pictures(self) -> Sequence[tuple[str, str]]:
        return [("image", self.body["image"])]

    def give_back(self, pictures: Sequence[str]) -> JsonObject:
        return {"image": pictures[0]}


class ExtraBatchView(ExtrasView):
    fields_class = BatchFields

    def pictures(self) -> Sequence[tuple[str, str]]:
        return [(f"imageList.{place}.data", one["data"]) for place, one in enumerate(self.body["imageList"])]

    def give_back(self, pictures: Sequence[str]) -> JsonObject:
        return {"images": list(pictures)}


def describe(body: Mapping[str, Any]) -> str:
    """As A1111 says what it did."""
    size = f"to: {body['upscaling_resize_w']}x{body['upscaling_resize_h']}"
    asked = size if body["resize_mode"] == TO_SIZE else f"by: {body['upscaling_resize']:g}"
    is_mixed = body["extras_upscaler_2_visibility"] and names_one(body["upscaler_2"])
    second = f", Postprocess upscaler 2: {body['upscaler_2']}" if is_mixed else ""
    return f"Postprocess upscale {asked}, Postprocess upscaler: {body['upscaler_1']}{second}"


def size_asked(body: Mapping[str, Any], file: StoredFile) -> JsonObject:
    """A scale where it is one of ours; else the size in pixels. Without cropping, what covers the size."""
    if body["resize_mode"] == TO_SIZE:
        width, height = body["upscaling_resize_w"], body["upscaling_resize_h"]
        if body["upscaling_crop"]:
            return {"width": width, "height": height}
        factor = max(width / file.width, height / file.height)
    else:
        factor = body["upscaling_resize"]
        if factor in (2, 3, 4):
            return {"scale": int(factor)}
    return {"width": int(file.width * factor), "height": int(file.height * factor)}
