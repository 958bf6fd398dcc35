"""`POST /sdapi/v1/txt2img` and `/sdapi/v1/img2img`: an ordinary job, told as A1111 does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.dialects.a1111.base import A1111Dialect, read_object
from api.dialects.a1111.errors import RequestRefused, renamed
from api.dialects.a1111.fields import GenerationFields, Img2ImgFields, Txt2ImgFields
from api.dialects.a1111.hires import put_hires
from api.dialects.a1111.info import make_echo, make_info
from api.dialects.a1111.infotext import fill_from_infotext
from api.dialects.a1111.painting import put_painting
from api.dialects.a1111.scripts import put_scripts
from api.dialects.a1111.styles import apply_styles
from api.dialects.a1111.tasks import naming
from api.dialects.a1111.translation import Translated, translate
from api.images.prompt_requests import LENIENT
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.jobs.states import Status
from api.strict import LONGEST_NAME, MOST_NAMED, nearest

INTERRUPTED = "It was interrupted before a picture was finished."


class GenerationView(A1111Dialect):
    """A subclass says what its body has beside the fields of both."""

    thing = "picture"
    fields: ClassVar[GenerationFields]
    """One for all requests: `run_validation` changes nothing of it, and to make one takes longer than all that it does."""
    serializer_class: ClassVar[type[Txt2ImgSerializer]]
    put_own: ClassVar[Callable[[Translated], None]]

    def parse(self, request: Request) -> Submission:
        try:
            self.body = self.fields.run_validation(fill_from_infotext(request.data))
        except ValidationError as error:
            raise RequestRefused(error.detail) from None
        translated = translate(self.body, self.principal)
        translated.warnings += misspelt_fields(read_object(request), self.fields)
        type(self).put_own(translated)
        apply_styles(translated)
        put_scripts(translated)
        self.words = translated.request["prompt"], translated.request["negative_prompt"]
        return self.submission(translated)

    def submission(self, translated: Translated) -> Submission:
        try:
            serializer = self.validated(self.serializer_class, {**translated.request, LENIENT: True})
        except ValidationError as error:
            raise RequestRefused(renamed(error.detail, translated.names)) from None
        submission: Submission = serializer.resolve()
        submission = replace(submission, warnings=(*translated.warnings, *submission.warnings))
        if translated.drawn:  # what was drawn is no part of what was asked
            asked = {**submission.fingerprint, "variation": {"strength": self.body["subseed_strength"]}}
            submission = replace(submission, fingerprint=asked)
        if self.body["force_task_id"]:
            submission = replace(submission, link=naming(self.body["force_task_id"], submission.spec))
        return submission

    def render(self, job: Job) -> HttpResponse:
        return self.tell(job, self.result(job, "base64")["images"])

    def render_failure(self, job: Job) -> HttpResponse:
        """An interrupted generation is none that failed: A1111 gives back what there is of it."""
        if job.status != Status.CANCELLED:
            return super().render_failure(job)
        job.warnings = [*job.warnings, INTERRUPTED]
        return self.tell(job, [])

    def tell(self, job: Job, images: Sequence[Mapping[str, Any]]) -> HttpResponse:
        sent = [image["image_base64"] for image in images if image["image_base64"]] if self.body["send_images"] else []
        info = make_info(job, self.body, self.words, images)
        return JsonResponse({"images": sent, "parameters": make_echo(job, self.body), "info": info})


def misspelt_fields(sent: Mapping[str, object], fields: GenerationFields) -> list[str]:
    """A sentence for each unknown field that is called much like a known one. Clients send fields of their own, too."""
    known = list(fields.fields)
    unknown = islice(
        (name[:LONGEST_NAME] for name, value in sent.items() if name not in known and value is not None), MOST_NAMED
    )
    guesses = {name: nearest(name, known) for name in unknown}
    return [f"{name} has no effect: Unknown field.{guess}" for name, guess in guesses.items() if guess]


class Txt2ImgView(GenerationView):
    """Make pictures from a prompt."""

    fields = Txt2ImgFields()
    serializer_class = Txt2ImgSerializer
    put_own = put_hires


class Img2ImgView(GenerationView):
    """Make pictures from a picture and a prompt; with a mask, paint a part of it anew."""

    fields = Img2ImgFields()
    serializer_class = Img2ImgSerializer
    put_own = put_painting
