"""The history, which is also the queue: a request is a row before it is work."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from api.jobs.identifiers import uuid7
from api.jobs.json_field import KeptJSONField
from api.jobs.states import ACTIVE, FINAL, Status
from api.quotas import Amount


def max_attempts() -> int:
    return settings.JOB_MAX_ATTEMPTS


class Job(models.Model):
    """One request, from its acceptance to its result.

        queued ──claim──▶ running ──▶ succeeded
          ▲  │               │  └────▶ failed
          │  └─▶ cancelled ◀─┤
          └── lease lost, attempt < max_attempts, after a backoff; or its last child has ended

    Every transition is one UPDATE on (id, status, lease_token) in lifecycle/; a final state is never left. `attempt` is raised at the
    claim, so that a job which kills its worker counts. Times that decide anything are the database's clock. A job that waits for its
    children is running without a lease.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=40)
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    model_id = models.CharField(max_length=200, blank=True)
    params = models.JSONField(default=dict)
    prompt = models.TextField(blank=True)
    progress = KeptJSONField(default=dict)
    result = KeptJSONField(null=True, blank=True)
    error = KeptJSONField(null=True, blank=True)
    warnings = KeptJSONField(default=list, blank=True)
    timings = models.JSONField(default=dict, blank=True)

    priority = models.SmallIntegerField(default=0)
    virtual_start = models.FloatField(db_default=0.0, editable=False)  # its place in the queue: see store/fair_order.py
    virtual_finish = models.FloatField(db_default=0.0, editable=False)
    owner_order = models.FloatField(
        db_default=0.0, editable=False
    )  # its first `virtual_start`: the order of an owner's own rows
    batch_key = models.CharField(max_length=64, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=max_attempts)
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children", db_index=False, editable=False
    )

    owner_key = models.CharField(max_length=64)
    source = models.CharField(max_length=20, db_default="", help_text="Which API or page it came by.")
    webhook = models.JSONField(null=True, blank=True, help_text="Where its events are sent, and which.")
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)
    body_hash = models.CharField(max_length=64, blank=True)
    trace_parent = models.CharField(
        max_length=55, default="", db_default="", editable=False, help_text="The span that asked for it, as W3C's traceparent."
    )

    only_worker_id = models.UUIDField(null=True, blank=True)  # a job for one worker alone
    worker = models.ForeignKey("Worker", null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs")
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    keeps_finished = models.BooleanField(
        null=True, editable=False, help_text="Whether who cancelled it wants what was finished of it by then."
    )
    event_sequence = models.PositiveIntegerField(default=0)

    # What it will use, with the children that it is still to ask for: known where its owner has quotas (store/usage.py).
    expected_jobs = models.IntegerField(db_default=1, editable=False)
    expected_pictures = models.IntegerField(db_default=0, editable=False)
    expected_pixels = models.BigIntegerField(db_default=0, editable=False)

    created_at = models.DateTimeField(db_default=Now())
    available_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner_key", "idempotency_key"], name="job_idempotency"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="job_status_known"),
        ]
        indexes = [
            models.Index(fields=["status", "model_id", "-id"], name="job_status_model"),
            models.Index(fields=["status", "-id"], name="job_status"),
            models.Index(fields=["kind", "-id"], name="job_kind"),
            models.Index(fields=["model_id", "-id"], name="job_model"),
            models.Index(fields=["owner_key", "-id"], name="job_owner"),
            models.Index(fields=["created_at"], name="job_created"),
            # Small, since only active rows are in them: the queue stays fast whatever the history's length.
            models.Index(fields=["virtual_start", "id"], name="job_queue", condition=Q(status=Status.QUEUED)),
            models.Index(
                F("owner_key"),
                F("priority").desc(),
                F("owner_order"),
                F("id"),
                name="job_owner_queue",
                condition=Q(status=Status.QUEUED),
            ),
            # Not by the lease's end: a heartbeat would write each of these indexes, where it now writes none (PostgreSQL's HOT).
            models.Index(fields=["virtual_start"], name="job_running", condition=Q(status=Status.RUNNING)),
            models.Index(
                fields=["only_worker_id"], name="job_addressed", condition=Q(status=Status.QUEUED, only_worker_id__isnull=False)
            ),
            models.Index(fields=["owner_key", "virtual_finish"], name="job_active_owner", condition=Q(status__in=ACTIVE)),
            models.Index(fields=["parent", "id"], name="job_children", condition=Q(parent__isnull=False)),
        ]

    made: Amount = Amount()
    """What `record` has made rows of, in this attempt at writing its end. No column: the outbox's row has it."""

    def __str__(self) -> str:
        return f"{self.kind} {str(self.id)[-12:]}"

    def count_picture(self, width: int, height: int, size: int) -> None:
        """Whoever makes the row of a file that a job has made says so here."""
        self.made = self.made.plus(Amount(0, 1, width * height, size))

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def is_waiting(self) -> bool:
        """For its children: it is under way, and no worker has it."""
        return self.status == Status.RUNNING and self.lease_token is None


class JobEvent(models.Model):
    """What happened to a job, in order, for those who watch it: status, progress, preview, token, result, error.

    Only the newest preview is kept. Rows go with retention; the job itself has all that lasts.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    sequence = models.PositiveIntegerField()
    type = models.CharField(max_length=12)
    data = KeptJSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["sequence"]
        constraints = [models.UniqueConstraint(fields=["job", "sequence"], name="event_order")]
        indexes = [models.Index(fields=["created_at"], name="event_age")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.type}"


class PreviewWatch(models.Model):
    """Until when somebody watches a job's previews, unless that is said again: previews are only made for jobs that have this.

    Not a column of the job: web processes write it while a worker writes the job's row.
    """

    job_id = models.UUIDField(primary_key=True)
    watched_until = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.job_id)[-12:]


class JobEnding(models.Model):
    """The outbox: one row for each job that has ended, written in the transaction that ends it, and kept when the job is deleted.

    Each reader marks the rows that it has processed in a column of its own (see outbox.py). A position would not do: on PostgreSQL a
    row can be committed after rows with higher ids.
    """

    job_id = models.UUIDField()
    kind = models.CharField(max_length=40)
    model_id = models.CharField(max_length=200, blank=True)
    owner_key = models.CharField(max_length=64)
    status = models.CharField(max_length=12, choices=[(status, status) for status in FINAL])
    seconds = models.FloatField(null=True, help_text="From its start to its end; null where no worker had begun it.")
    created_at = models.DateTimeField()
    timings = models.JSONField(null=True, blank=True)
    reason = models.CharField(max_length=60, db_default="", help_text="The code of its error; empty where there was none.")
    webhook = models.JSONField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True)
    pictures = models.IntegerField(db_default=0, help_text="Files that it has made, with their pixels and bytes.")
    pixels = models.BigIntegerField(db_default=0)
    bytes = models.BigIntegerField(db_default=0)
    counted = models.BooleanField(default=False)
    dispatched = models.BooleanField(db_default=True, help_text="Whether its webhook is done with; true where there is none.")

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["id"], name="ending_uncounted", condition=Q(counted=False)),
            models.Index(fields=["owner_key"], name="ending_uncounted_owner", condition=Q(counted=False)),
            models.Index(fields=["id"], name="ending_undispatched", condition=Q(dispatched=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {str(self.job_id)[-12:]} {self.status}"


class DailyUse(models.Model):
    """What an owner has used on a day of UTC, by the rows of the outbox that are counted (store/usage.py)."""

    owner_key = models.CharField(max_length=64)
    day = models.DateField()
    jobs = models.PositiveBigIntegerField(default=0, help_text="Submitted on that day, and succeeded.")
    pictures = models.PositiveBigIntegerField(default=0, help_text="Made on that day, as are the pixels and bytes.")
    pixels = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner_key", "day"], name="use_owner_day")]

    def __str__(self) -> str:
        return f"{self.owner_key} {self.day}"


class Worker(models.Model):
    """A process that runs models, and what it says of itself: the only source of what web pages show of devices and models."""

    class State(models.TextChoices):
        STARTING = "starting", _("Starting")
        IDLE = "idle", _("Idle")
        LOADING = "loading", _("Loading")
        BUSY = "busy", _("Busy")
        DRAINING = "draining", _("Draining")
        STOPPED = "stopped", _("Stopped")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    hostname = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    process = models.CharField(
        max_length=255, db_default="", editable=False, help_text="Which process has that pid: see processes.py."
    )
    state = models.CharField(max_length=10, choices=State, default=State.STARTING)
    kinds = models.JSONField(default=list, blank=True)
    device = models.JSONField(default=dict, blank=True)
    loaded_models = models.JSONField(default=list, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    drained_at = models.DateTimeField(null=True, blank=True, help_text="Since when it runs nothing and claims nothing.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"


class Drain(models.Model):
    """A worker, or a machine with all its workers, that claims no more jobs (see draining.py)."""

    worker_id = models.UUIDField(null=True, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    exits = models.BooleanField(default=False, help_text="Whether workers end once they are drained.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.hostname or f"worker {self.worker_id}"
