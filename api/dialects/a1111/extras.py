"""`POST /sdapi/v1/extra-single-image` and `extra-batch-images`: pictures that are enlarged, each by a job of its own.

With the upscaler "None", which is the default, pictures come back as they are, and there is no job.
"""

from __future__ import annotations

import base64
import hashlib
import html
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.dialects.a1111 import options
from api.dialects.a1111.base import A1111Dialect
from api.dialects.a1111.errors import BAD_PICTURE, RequestRefused, refusal, renamed
from api.dialects.a1111.fields import LenientFields, PictureField, any_value, number, switch, text, whole
from api.dialects.a1111.option_table import FORMAT, FORMAT_NAMES
from api.dialects.a1111.upscalers import NONE, find_upscaler
from api.errors import DarkroomError
from api.files.errors import InvalidImage
from api.files.models import StoredFile
from api.files.services import read_file, resolve_image
from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.api.database_calls import in_thread_when_back
from api.jobs.api.dialect import Accepted
from api.jobs.api.submission import Submission, read_idempotency_key, read_preference
from api.jobs.api.waiting import wait_until_final
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store import transitions
from api.json_types import JsonObject

BY_FACTOR, TO_SIZE = 0, 1
MOST_PICTURES = 64
WITHOUT_FACES = dict.fromkeys(("gfpgan_visibility", "codeformer_visibility"), "Nothing restores faces here.")
UNMET = {**WITHOUT_FACES, "extras_upscaler_2_visibility": "A second upscaler can't be mixed in here."}
"""What is refused where it is more than 0."""
BY_FACTOR_NAMES = dict.fromkeys(("scale", "width", "height"), "upscaling_resize")
TO_SIZE_NAMES = {"width": "upscaling_resize_w", "height": "upscaling_resize_h", "scale": "upscaling_resize_w"}
"""Our fields, by which of theirs they came."""


class ExtrasFields(LenientFields):
    resize_mode = whole(BY_FACTOR, low=BY_FACTOR, high=TO_SIZE)
    show_extras_results = switch(True)
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
    return body["upscaler_1"] not in (NONE, "")


class SingleFields(ExtrasFields):
    image = PictureField()


class SentFileFields(serializers.Serializer[Any]):
    data = PictureField()  # type: ignore[assignment]  # DRF takes declared fields out of the class
    name = serializers.CharField(max_length=1000, allow_blank=True, required=False)


class BatchFields(ExtrasFields):
    imageList = serializers.ListField(  # noqa: N815  # A1111's name
        child=SentFileFields(), min_length=1, max_length=MOST_PICTURES
    )


class ExtrasView(A1111Dialect):
    """A subclass says which pictures a body has, and how they are given back."""

    thing = "picture"
    fields_class: ClassVar[type[ExtrasFields]]

    def pictures(self) -> Sequence[tuple[str, str]]:
        """Each with the name of the field that it came in."""
        raise NotImplementedError

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

    def submit_all(self, request: Request) -> HttpResponseBase:
        self.preference = read_preference(request.headers.get("Prefer", ""), self.default_wait)
        key = read_idempotency_key(request)
        jobs: list[Job] = []
        try:
            for place, submission in enumerate([self.enlarge(field, sent) for field, sent in self.pictures()]):
                jobs.append(self.submit(submission, own_key(key, place)))
        except DarkroomError:
            for job in jobs if key is None else ():  # with a key they are found when it is sent again
                cancel_job(job=job)
            raise
        return AllAccepted(self, jobs)

    def parse(self, request: Request) -> Submission:
        raise NotImplementedError  # `submit_all` does it

    # ------------------------------------------------------------ one picture

    def stored(self, field: str, sent: str) -> StoredFile:
        """Raises RequestRefused."""
        owner = self.principal
        try:
            return resolve_image(owner_key=owner.owner_key, value=sent, mode="RGBA", see_all=owner.is_staff)
        except InvalidImage as error:
            raise refusal(field, error.detail, BAD_PICTURE) from None

    def enlarge(self, field: str, sent: str) -> Submission:
        """Raises RequestRefused."""
        file = self.stored(field, sent)
        try:
            model_id = find_upscaler(self.body["upscaler_1"])
        except ValidationError as error:
            raise RequestRefused({"upscaler_1": error.detail}) from None
        output_format = FORMAT_NAMES[options.get(self.principal)[FORMAT]]
        asked: JsonObject = {"image": str(file.pk), "model_id": model_id, "output_format": output_format}
        asked |= {"webhook": self.body["webhook"], **size_asked(self.body, file)}
        try:
            return self.validated(UpscaleSerializer, asked).resolve()  # type: ignore[no-any-return]
        except ValidationError as error:
            sides = TO_SIZE_NAMES if self.body["resize_mode"] == TO_SIZE else BY_FACTOR_NAMES
            raise RequestRefused(renamed(error.detail, {"image": field, "output_format": FORMAT, **sides})) from None

    # ------------------------------------------------------------ the answer

    def render(self, job: Job) -> HttpResponse:
        return self.render_all([job])

    def render_all(self, jobs: Sequence[Job]) -> HttpResponse:
        pictures = [self.result(job, "base64")["images"][0]["image_base64"] for job in jobs]
        return JsonResponse(self.answer_with(pictures, describe(self.body)))

    def answer_with(self, pictures: Sequence[str], info: str) -> JsonObject:
        shown = pictures if self.body["show_extras_results"] else []
        return {"html_info": f"<p>{html.escape(info)}</p>", **self.give_back(shown)}


class ExtraSingleView(ExtrasView):
    fields_class = SingleFields

    def pictures(self) -> Sequence[tuple[str, str]]:
        return [("image", self.body["image"])]

    def give_back(self, pictures: Sequence[str]) -> JsonObject:
        return {"image": pictures[0] if pictures else None}


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
    return f"Postprocess upscale {asked}, Postprocess upscaler: {body['upscaler_1']}"


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


def own_key(key: str | None, place: int) -> str | None:
    """For each picture of a request the same key makes another one, always the same."""
    return key and hashlib.sha256(f"{key} {place}".encode()).hexdigest()


class AllAccepted(Accepted):
    """Of a request that became several jobs: it is answered when the last of them has ended."""

    dialect: ExtrasView

    def __init__(self, dialect: ExtrasView, jobs: list[Job]) -> None:
        super().__init__(dialect, jobs[0], may_cancel=False)
        self.jobs = jobs

    @property
    def needs_no_wait(self) -> bool:
        return all(job.is_final for job in self.jobs) or not self.dialect.preference.seconds

    def answer(self) -> HttpResponseBase:
        """What went wrong with one of them is told of all; of those that were interrupted the others are given back."""
        done = [job for job in self.jobs if job.status == Status.SUCCEEDED]
        unfit = [job for job in self.jobs if job.is_final and job.status != Status.SUCCEEDED]
        if done and all(job.status == Status.CANCELLED for job in unfit):
            unfit = []
        unfit += [job for job in self.jobs if not job.is_final]
        return self.finish(self.dialect.answer(unfit[0]) if unfit else self.dialect.render_all(done))

    def answer_as_it_stands(self) -> HttpResponseBase:
        for place, job in enumerate(self.jobs):
            found = transitions.find_job(job.pk)
            if found is None:  # it was deleted
                job.status, job.error = Status.CANCELLED, None
            self.jobs[place] = found or job
        return self.answer()

    async def wait(self) -> HttpResponseBase:
        deadline = time.monotonic() + self.dialect.preference.seconds
        for job in self.jobs:
            await wait_until_final(job.pk, max(0.0, deadline - time.monotonic()))
        return await in_thread_when_back(self.answer_as_it_stands)
