"""What is known of each key's webhooks, and what was sent."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from api.jobs.identifiers import uuid7
from api.jobs.webhooks import COMPLETED, EVENTS, LONGEST_URL, url_error
from config.secret import decrypt_text, encrypt_text


def default_events() -> list[str]:
    return [COMPLETED]


def validate_events(value: object) -> None:
    if not isinstance(value, list) or not value or not set(value) <= set(EVENTS):
        raise ValidationError(f"Events are a list of one or more of {', '.join(EVENTS)}.")


def validate_url(value: str) -> None:
    if error := url_error(value):
        raise ValidationError(error)


class KeyWebhook(models.Model):
    """The webhooks of one key's jobs: where they go if a request says nothing of it, whether any are sent, and what signs them.

    `owner_key` is the key's prefix; '' stands for all jobs that came without a key. Secrets are encrypted with the server's key.
    """

    owner_key = models.CharField("key", max_length=64, unique=True, blank=True)
    url = models.CharField(
        "URL",
        max_length=LONGEST_URL,
        blank=True,
        validators=[validate_url],
        help_text="Where the events of jobs go whose request names no webhook of its own. Empty: nowhere.",
    )
    events = models.JSONField(default=default_events, validators=[validate_events])
    enabled = models.BooleanField(
        default=True, help_text="Off: nothing is sent for this key's jobs, whatever their requests say."
    )
    gone_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the URL answered 410: nothing more goes there until this is saved again.",
    )
    secret = models.TextField(editable=False)
    previous_secret = models.TextField(blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    shown_at = models.DateTimeField("secret shown", null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "key's webhook"
        verbose_name_plural = "keys' webhooks"
        ordering = ["owner_key"]

    def __str__(self) -> str:
        return self.owner_key or "jobs without a key"

    def read_secret(self) -> str:
        """Raises Unreadable where the server has another key now."""
        return decrypt_text(self.secret, settings.SECRET_KEY)

    def write_secret(self, secret: str) -> None:
        self.secret = encrypt_text(secret, settings.SECRET_KEY)


class Delivery(models.Model):
    """One `completed` event of one job, until its receiver has taken it. The body stays as it was, whatever becomes of the job.

    It is due at `next_attempt_at`. Who sends it puts that off for a while first: so it is sent by one process at a time, and again
    where that process has died.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job_id = models.UUIDField()
    owner_key = models.CharField(max_length=64)
    url = models.CharField("URL", max_length=LONGEST_URL)
    event = models.CharField(max_length=12)
    body = models.TextField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0, help_text="Those that were answered, or failed.")
    next_attempt_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    answers = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="delivery_due"),
            models.Index(fields=["created_at"], name="delivery_age"),
            models.Index(fields=["job_id"], name="delivery_job"),
            models.Index(fields=["status", "-id"], name="delivery_status"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {str(self.job_id)[-12:]}"
