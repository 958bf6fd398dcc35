"""How far a key's own jobs of this dialect are, and the two ways to stop them."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.principals import Principal
from api.dialects.a1111.info import TIMESTAMP
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import ACTIVE, Status
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


def active_jobs(principal: Principal) -> QuerySet[Job]:
    """Oldest first: never another owner's, nor what came by another API."""
    return Job.objects.filter(owner_key=principal.owner_key, source="a1111", status__in=ACTIVE).order_by("pk")


class ProgressView(APIView):
    def get(self, request: Request) -> Response:
        jobs = list(active_jobs(request.auth))
        job = next((job for job in jobs if job.status == Status.RUNNING), jobs[0] if jobs else None)
        if job is None:
            return Response({"progress": 0.0, "eta_relative": 0.0, "state": IDLE, "current_image": None, "textinfo": None})
        state = {
            **IDLE,
            "job": str(job.pk),
            "job_count": len(jobs),
            "job_timestamp": job.created_at.strftime(TIMESTAMP),
            "sampling_step": job.progress.get("step", 0),
            "sampling_steps": job.progress.get("steps", 0),
            "interrupted": job.cancel_requested_at is not None,
        }
        fraction = job.progress.get("fraction", 0.0)
        return Response({"progress": fraction, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None})


class StopView(APIView):
    required_scope = "submit"

    def post(self, request: Request) -> Response:
        jobs = list(active_jobs(request.auth))
        for job in [job for job in jobs if job.status == Status.RUNNING] or jobs[:1]:
            cancel_job(job=job)
        return Response({})


class InterruptView(StopView):
    """Ends the jobs under way."""


class SkipView(StopView):
    """Ends the jobs under way."""


class InternalProgressView(APIView):
    def post(self, request: Request) -> Response:
        return Response({"active": False, "queued": False, "completed": False, "progress": None})


class PendingTasksView(APIView):
    def get(self, request: Request) -> Response:
        tasks: list[Any] = [
            str(pk) for pk in active_jobs(request.auth).filter(status=Status.QUEUED).values_list("pk", flat=True)
        ]
        return Response({"size": len(tasks), "tasks": tasks})
