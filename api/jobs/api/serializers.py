"""A job as a client sees it."""

import logging
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.errors import PROGRAM_FAULTS
from api.jobs.api.selectors import queue_position
from api.jobs.kinds import get_kind, shown_params
from api.jobs.models import Job
from api.jobs.states import Status

log = logging.getLogger("darkroom.jobs")
to_time: Any = serializers.DateTimeField().to_representation


class JobErrorSerializer(serializers.Serializer[object]):
    code = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()


class JobProgressSerializer(serializers.Serializer[object]):
    fraction = serializers.FloatField(required=False)
    step = serializers.IntegerField(required=False)
    steps = serializers.IntegerField(required=False)
    stage = serializers.CharField(required=False, help_text="What is done before the first step: fetching, loading.")


class JobLinksSerializer(serializers.Serializer[object]):
    self = serializers.CharField()
    events = serializers.CharField()
    cancel = serializers.CharField()


class ShownWebhookSerializer(serializers.Serializer[object]):
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())


class JobSerializer(serializers.ModelSerializer[Job]):
    """`context`: request (for absolute links), include (a set of extras), positions (of a whole page, to spare a query each)."""

    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    progress = JobProgressSerializer(read_only=True)
    error = JobErrorSerializer(read_only=True, allow_null=True)
    result = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()
    retry_of = serializers.UUIDField(source="retry_of_id", read_only=True, allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)
    webhook = ShownWebhookSerializer(read_only=True, allow_null=True)
    timings = serializers.DictField(child=serializers.FloatField(), read_only=True)
    params = serializers.DictField(read_only=True)

    class Meta:
        model = Job
        fields = (
            "id", "kind", "status", "model_id", "params", "progress", "queue_position", "result", "error", "warnings",
            "attempt", "retry_of", "source", "webhook", "created_at", "started_at", "finished_at", "timings", "links",
        )  # fmt: skip
        read_only_fields = fields

    def to_representation(self, job: Job) -> dict[str, object]:
        """What the fields above would say; a field at a time takes longer than all else that an answer needs."""
        return {
            "id": str(job.id),
            "kind": job.kind,
            "status": job.status,
            "model_id": job.model_id,
            "params": shown_params(job),
            "progress": job.progress,
            "queue_position": self.get_queue_position(job),
            "result": self.get_result(job),
            "error": job.error,
            "warnings": job.warnings,
            "attempt": job.attempt,
            "retry_of": job.retry_of_id and str(job.retry_of_id),
            "source": job.source,
            "webhook": shown_webhook(job),
            "created_at": to_time(job.created_at),
            "started_at": to_time(job.started_at),
            "finished_at": to_time(job.finished_at),
            "timings": job.timings,
            "links": self.get_links(job),
        }

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_result(self, job: Job) -> dict[str, Any] | None:
        return render_result(job, self.context.get("request"), self.context.get("include", frozenset()))

    @extend_schema_field({"type": ["integer", "null"]})
    def get_queue_position(self, job: Job) -> int | None:
        positions = self.context.get("positions")
        return queue_position(job) if positions is None else positions.get(job.id)

    @extend_schema_field(JobLinksSerializer)
    def get_links(self, job: Job) -> dict[str, str]:
        path, request = reverse("job-detail", args=[job.id]), self.context.get("request")
        own = request.build_absolute_uri(path) if request else path
        return {"self": own, "events": f"{own}events/", "cancel": f"{own}cancel/"}


def shown_webhook(job: Job) -> dict[str, Any] | None:
    return job.webhook and {name: job.webhook[name] for name in ("url", "events")}


def render_result(job: Job, request: object, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
    """The job's result with what was asked to be included, its addresses for the host that the client asked."""
    try:
        result = get_kind(job.kind).render(job, include=include)
    except PROGRAM_FAULTS:  # of a kind of others: a page of the history has more rows than this one
        log.exception("The result of job %s is shown as its row has it", job.pk)
        result = job.result
    return absolute_urls(result, request) if result else result


def absolute_urls(value: Any, request: Any) -> Any:
    """Our own paths under keys that end in `url`, made absolute for the host that the client asked."""
    if request is None:
        return value
    if isinstance(value, dict):
        return {
            key: request.build_absolute_uri(item)
            if key.endswith("url") and isinstance(item, str) and item.startswith("/")
            else absolute_urls(item, request)
            for key, item in value.items()
        }
    return [absolute_urls(item, request) for item in value] if isinstance(value, list) else value
