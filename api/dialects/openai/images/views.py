"""OpenAI's images over HTTP. A client that leaves does not cancel its job: an SDK that timed out asks again, and joins it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema_view
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.dialects.openai.base import OpenAIDialect
from api.dialects.openai.errors import in_their_words
from api.dialects.openai.images import openapi
from api.dialects.openai.images.bodies import BACKGROUND, CUTOUT, IMAGE, IMAGES, NAMES, PICTURES, ImageBody, read_image_body
from api.dialects.openai.images.fields import (
    EDIT_STRENGTH,
    MASKED_STRENGTH,
    QUALITIES,
    EditFields,
    GenerationFields,
    VariationFields,
    answers_in_base64,
    describe_fields,
    translate,
)
from api.dialects.openai.images.replies import AnswerForm, pictures_answer
from api.dialects.openai.images.sources import find_source, read_further, store_mask, store_own_mask
from api.dialects.openai.images.streaming import PictureStream
from api.dialects.openai.images.variations import find_prompt
from api.files.models import StoredFile
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject

IP_ADAPTER = "ip_adapter"
RETRY_COUNT = "X-Stainless-Retry-Count"
"""How often an SDK of OpenAI's has sent this request before."""
DALL_E_2 = (None, "", "dall-e-2")
"""The model of OpenAI's that reads a mask in the picture's own transparency, and its default."""


class ImagesView(OpenAIDialect):
    """A subclass says which fields it takes."""

    thing = "picture"
    fields_class: ClassVar[type[GenerationFields]] = GenerationFields
    serializer_class: ClassVar[type[Txt2ImgSerializer]] = Txt2ImgSerializer
    pictures: ClassVar[tuple[str, ...]] = ()
    """Fields of its bodies that are pictures."""
    event_prefix = "image_generation"
    form: AnswerForm
    warnings: tuple[str, ...] = ()

    def parse(self, request: Request) -> Submission:
        body = self.read_body(request.data)
        theirs = self.validated(self.fields_class, body.theirs).validated_data
        quality = theirs.get("quality", "auto")
        data = {**body.beside, **translate(theirs, body.beside)}
        data = self.with_pictures(data, theirs, body)
        names = NAMES if CUTOUT in body.beside else {**NAMES, CUTOUT: BACKGROUND}
        names = names if IP_ADAPTER in body.beside else {**names, IP_ADAPTER: IMAGE}
        submission = self.resolve(data, QUALITIES[quality], names)
        self.stream_asked, self.partial_images = theirs.get("stream", False), theirs.get("partial_images", 0)
        self.form = AnswerForm(
            in_base64=answers_in_base64(body.theirs.get("model"), theirs.get("response_format")),
            quality="" if body.beside.get("steps") else quality,
            prompt=str(data.get("prompt", "")).strip(),
        )
        return replace(
            submission,
            fingerprint=[submission.fingerprint, quality],
            warnings=(*submission.warnings, *self.warnings, *describe_fields(theirs, body.beside)),
            joins_equal=is_retry(request),
        )

    def resolve(self, data: JsonObject, steps_factor: float, names: Mapping[str, str]) -> Submission:
        try:
            serializer = self.validated(self.serializer_class, data, steps_factor=steps_factor)
            submission: Submission = serializer.resolve()
            return submission
        except ValidationError as error:
            raise in_their_words(error, names) from None

    def read_body(self, data: object) -> ImageBody:
        """By the classes' fields, of which no request changes anything: an instance copies all of them."""
        theirs, ours = self.fields_class._declared_fields, self.serializer_class._declared_fields
        return read_image_body(data, theirs, ours, self.pictures)

    def with_pictures(self, data: JsonObject, theirs: Mapping[str, Any], body: ImageBody) -> JsonObject:
        return data

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse(pictures_answer(job, self.result(job)["images"], self.form))

    def stream(self, job: Job) -> PictureStream | None:
        if not self.stream_asked:
            return None
        return PictureStream(job, self.request, self.form, prefix=self.event_prefix, partial_images=self.partial_images)


@extend_schema_view(post=openapi.generations)
class GenerationsView(ImagesView):
    """Pictures from a prompt."""


@extend_schema_view(post=openapi.edits)
class EditsView(ImagesView):
    """A picture that is changed as a prompt says; with a mask, where that is transparent."""

    fields_class = EditFields
    serializer_class = Img2ImgSerializer
    pictures = PICTURES
    event_prefix = "image_edit"

    def with_pictures(self, data: JsonObject, theirs: Mapping[str, Any], body: ImageBody) -> JsonObject:
        principal = self.principal
        source = find_source(body.pictures[:1], principal)
        mask = self.find_mask(body, source)
        if further := read_further(body.pictures, theirs.get("model"), principal) if len(body.pictures) > 1 else []:
            own: Any = body.beside.get(IP_ADAPTER)
            data = {**data, IP_ADAPTER: [*(own if isinstance(own, list) else [own] if own else ()), *further]}
            self.warnings += (
                f"Of {len(body.pictures)} pictures the first is edited; the others are image prompts ({IP_ADAPTER}).",
            )
        strengths = EDIT_STRENGTH if mask is None else MASKED_STRENGTH
        strength = body.beside.get("strength")
        return {
            **data,
            "image": str(source.pk),
            "mask": None if mask is None else str(mask.pk),
            "strength": strengths[theirs["input_fidelity"]] if strength is None else strength,
        }

    def find_mask(self, body: ImageBody, source: StoredFile) -> StoredFile | None:
        if body.mask not in (None, ""):
            return store_mask(body.mask, source, self.principal)
        if body.theirs.get("model") not in DALL_E_2:
            return None
        mask = store_own_mask(body.pictures[0], self.principal)
        if mask is not None:
            self.warnings += ("The picture's transparent parts were taken as its mask, as dall-e-2 takes them.",)
        return mask


@extend_schema_view(post=openapi.variations)
class VariationsView(ImagesView):
    """Pictures like another one. OpenAI's clients send no prompt: that of the picture's file is taken, or none."""

    fields_class = VariationFields
    serializer_class = Img2ImgSerializer
    pictures = (IMAGE, IMAGES)

    def with_pictures(self, data: JsonObject, theirs: Mapping[str, Any], body: ImageBody) -> JsonObject:
        principal = self.principal
        source = find_source(body.pictures, principal)
        found = find_prompt(body.pictures[0], body.beside, principal)
        self.warnings = found.warnings
        return {**data, **found.fields, "image": str(source.pk)}


def is_retry(request: Request) -> bool:
    """Whether an SDK asks again, because it waited too long or lost its connection: what is still under way is then what it means."""
    count = request.headers.get(RETRY_COUNT, "")
    return count.isascii() and count.isdigit() and count.strip("0") != ""
