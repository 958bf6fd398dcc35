"""How far a key's own jobs of this dialect are, and the ways to stop them."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.scopes import READ, SUBMIT
from api.dialects.a1111 import options
from api.dialects.a1111.base import ANY_PARSERS, A1111View
from api.dialects.a1111.errors import RequestRefused
from api.dialects.a1111.fields import LenientFields, switch, whole
from api.dialects.a1111.info import TIMESTAMP
from api.dialects.a1111.option_table import PREVIEWS
from api.dialects.a1111.tasks import LONGEST_NAME, count_active, current_job, find_task, names_of_waiting
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.jobs.store.preview_watches import extend_watches
from api.json_types import JsonObject

IDLE: JsonObject = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "0",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}
NO = ("1", "true", "yes", "on")
"""What `?skip_current_image=` says where no picture is wanted."""


class ProgressView(A1111View):
    """Of the job under way, and how many there are."""

    def get(self, request: Request) -> Response:
        job = current_job(self.principal)
        if job is None:
            return Response({"progress": 0.0, "eta_relative": 0.0, "state": IDLE, "current_image": None, "textinfo": None})
        wants_picture = request.query_params.get("skip_current_image", "").lower() not in NO
        picture, _ = newest_preview(job) if wants_picture and shows_previews(self) else (None, -1)
        return Response(
            {
                "progress": fraction_of(job),
                "eta_relative": seconds_left(job),
                "state": describe(job, count_active(self.principal)),
                "current_image": picture and picture.partition(",")[2],
                "textinfo": stage_of(job),
            }
        )


class ProgressFields(LenientFields):
    id_task = serializers.CharField(max_length=LONGEST_NAME * 2, allow_blank=True)
    id_live_preview = whole(-1)
    live_preview = switch(True)


class InternalProgressView(A1111View):
    """Of one job, by its name."""

    required_scope = READ

    def post(self, request: Request) -> Response:
        fields = ProgressFields(data=request.data)
        try:
            fields.is_valid(raise_exception=True)
        except ValidationError as error:
            raise RequestRefused(error.detail) from None
        asked = fields.validated_data
        job = find_task(self.principal, asked["id_task"])
        answer: JsonObject = {
            "active": job is not None and job.status == Status.RUNNING,
            "queued": job is not None and job.status == Status.QUEUED,
            "completed": job is not None and job.is_final,
            "progress": None,
            "eta": None,
            "live_preview": None,
            "id_live_preview": asked["id_live_preview"],
            "textinfo": "Waiting..." if job is None else stage_of(job),
        }
        if job is None or job.status != Status.RUNNING:
            return Response(answer)
        answer |= {"progress": fraction_of(job), "eta": seconds_left(job)}
        if asked["live_preview"] and shows_previews(self):
            picture, number = newest_preview(job)
            if picture and number != asked["id_live_preview"]:
                answer |= {"live_preview": picture, "id_live_preview": number}
        return Response(answer)


class PendingTasksView(A1111View):
    """The names of those that wait."""

    def get(self, request: Request) -> Response:
        names = names_of_waiting(self.principal)
        return Response({"size": len(names), "tasks": names})


class StopView(A1111View):
    """Ends the key's job under way, or the next one where none runs. Who waits for it gets the pictures that are finished."""

    required_scope = SUBMIT
    parser_classes = ANY_PARSERS

    def post(self, request: Request) -> Response:
        job = current_job(self.principal)
        if job is not None:
            cancel_job(job=job, keeps_finished=True)
        return Response({})


# ---------------------------------------------------------------- what is told of a job


def shows_previews(view: A1111View) -> bool:
    return bool(options.values_of(view.principal)[PREVIEWS])


def fraction_of(job: Job) -> float:
    return float(job.progress.get("fraction", 0.0))


def seconds_left(job: Job) -> float:
    done = fraction_of(job)
    if job.started_at is None or done <= 0:
        return 0.0
    passed = (timezone.now() - job.started_at).total_seconds()
    return max(0.0, passed / done - passed)


def stage_of(job: Job) -> str | None:
    if job.status == Status.QUEUED:
        return "In queue..."
    stage: Any = job.progress.get("stage")
    return str(stage) if stage and job.status == Status.RUNNING else None


def describe(job: Job, count: int) -> JsonObject:
    return {
        **IDLE,
        "interrupted": job.cancel_requested_at is not None,
        "job": str(job.pk),
        "job_count": count,
        "job_timestamp": job.created_at.strftime(TIMESTAMP),
        "sampling_step": job.progress.get("step", 0),
        "sampling_steps": job.progress.get("steps", job.params.get("steps", 0)),
    }


def newest_preview(job: Job) -> tuple[str | None, int]:
    """A data URL, and its number. Whoever asks for it wants the next one, too: workers make them for who looks."""
    extend_watches([job.pk])
    event = JobEvent.objects.filter(job=job, type="preview").order_by("-sequence").first()
    return (event.data["preview"], event.sequence) if event else (None, -1)
