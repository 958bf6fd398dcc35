"""Totals of the jobs that have ended, which only grow, also when the history is cleaned, as a counter of Prometheus must; processes."""

from django.db import models
from django.db.models.functions import Now

from api.jobs.identifiers import uuid7


class JobCounter(models.Model):
    """How many jobs of one kind, model and outcome have ended, and how long those ran that a worker had begun."""

    kind = models.CharField(max_length=40)
    model_id = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12)
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="Of running, all together.")
    buckets = models.JSONField(
        default=list, help_text="How many ran for at most counters.BUCKETS[i] seconds, and longer than the bucket before."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "model_id", "status"], name="job_counter_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.model_id} {self.status}: {self.count}"


class MetricTotal(models.Model):
    """What processes have counted (api/metric_definitions.py): a counter, or a part of a histogram. Rows are only added to."""

    name = models.CharField(max_length=80)
    labels = models.CharField(max_length=600, help_text="The values of its labels, as a JSON list.")
    part = models.CharField(max_length=4, help_text="Empty for a counter; of a histogram 'sum', or the number of a bucket.")
    value = models.FloatField(default=0.0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "labels", "part"], name="metric_total_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels} {self.part}".strip()


class ServerProcess(models.Model):
    """A web process or a worker that was there lately, and what it runs: a fleet of mixed versions can be told of."""

    class Role(models.TextChoices):
        WEB = "web", "web process"
        WORKER = "worker", "worker"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    role = models.CharField(max_length=6, choices=Role)
    hostname = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    version = models.CharField(max_length=40)
    migrations = models.PositiveIntegerField(help_text="How many it knows.")
    key_fingerprint = models.CharField(max_length=16, help_text="Of its SECRET_KEY.")
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
