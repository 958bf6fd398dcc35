"""Pictures while they are made: the job's previews as OpenAI's partial images, and then the pictures themselves."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.dialects.openai.errors import envelope
from api.dialects.openai.images.fields import AUTO
from api.dialects.openai.images.replies import FORMATS, NO_USAGE, AnswerForm, background_of, content_of, shown_quality, size_of
from api.dialects.openai.streaming import CANCELLED
from api.errors import DarkroomError
from api.jobs.api.serializers import render_result
from api.jobs.api.streaming import JobStream
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.jobs.store.preview_watches import extend_watches

PREVIEW_FORMAT = "jpeg"
IMAGE_INDEX = "image_index"
"""Which of several pictures an event is of. OpenAI's events have nothing that says it: `partial_image_index` counts the events. Of the
candidates of a `best_of` it isn't known which are kept.
"""


class PictureStream(JobStream):
    """`prefix`: image_generation or image_edit. `partial_images`: at most so many, spread over the time that the job takes."""

    def __init__(self, job: Job, request: object, form: AnswerForm, *, prefix: str, partial_images: int) -> None:
        super().__init__(job.pk)
        self.request, self.form, self.prefix, self.partial_images = request, form, prefix, partial_images
        self.shows_previews = partial_images > 0
        self.created_at = int(job.created_at.timestamp())
        self.size = f"{job.params['width']}x{job.params['height']}"
        self.background = background_of(job)
        self.best_of, self.first_seed = job.params.get("best_of"), job.params["seed"]
        self.partials_sent = 0

    def begin(self) -> Iterable[bytes]:
        """The worker is told at once that previews are wanted: a small picture is made in less than a second."""
        if self.shows_previews:
            extend_watches([self.job_id])
        return ()

    def encode(self, event: JobEvent) -> Iterator[bytes]:
        if event.type == "preview":
            yield from self.tell_partial(event.data)
        elif event.type == "error":
            yield from self.break_off(event.data["status"], event.data["code"], event.data["detail"])
        elif event.type == "status" and event.data["status"] == Status.CANCELLED:
            self.ended = True
            yield sse("error", {"type": "error", **CANCELLED})

    def tell_partial(self, preview: dict[str, Any]) -> Iterator[bytes]:
        """Those that come before the next is due are passed over."""
        if self.partials_sent >= min(self.partial_images, int(preview["fraction"] * (self.partial_images + 1))):
            return
        content = preview["preview"].partition(",")[2]
        index, self.partials_sent = self.partials_sent, self.partials_sent + 1
        of = {IMAGE_INDEX: preview["number"]} if "number" in preview and not self.best_of else {}
        yield self.event("partial_image", content, PREVIEW_FORMAT, self.size, partial_image_index=index, **of)

    def finish(self) -> Iterator[bytes]:
        job = Job.objects.filter(pk=self.job_id).first()
        if job is None or not job.result:  # deleted meanwhile
            yield from self.break_off(410, "picture_gone", "The picture was deleted.")
            return
        images = (render_result(job, self.request) or {})["images"]
        name = job.params["output_format"]
        try:
            events = [self.completed(image, name, number) for number, image in enumerate(images)]
        except DarkroomError as error:
            yield from self.break_off(error.status, error.code, error.detail)
            return
        self.ended = True
        yield from events

    def completed(self, image: dict[str, Any], name: str, number: int) -> bytes:
        """`number`: among those that are left; where some were withheld, a picture keeps the number that its partial images had."""
        number = number if self.best_of else image["seed"] - self.first_seed
        extra = {
            "usage": NO_USAGE,
            "url": image["url"],
            "id": image["id"],
            "seed": image["seed"],
            "job": str(self.job_id),
            IMAGE_INDEX: number,
        }
        return self.event("completed", content_of(image), name, size_of([image]), **extra)

    def event(self, kind: str, content: str, output_format: str, size: str, **extra: object) -> bytes:
        name = f"{self.prefix}.{kind}"
        data = {
            "type": name,
            "b64_json": content,
            "created_at": self.created_at,
            "background": self.background,
            "output_format": output_format if output_format in FORMATS else None,
            "quality": shown_quality(self.form) or AUTO,
            "size": size,
            **extra,
        }
        return sse(name, data)

    def interrupt(self) -> Iterator[bytes]:
        yield from self.break_off(
            503, "restarting", "The server is restarting and the picture is not ready yet; send this again."
        )

    def break_off(self, status: int, code: str, detail: str) -> Iterator[bytes]:
        self.ended = True
        yield sse("error", {"type": "error", **envelope(status, code, detail)})


def sse(event: str, data: Mapping[str, object]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
