"""Every picture on the server, sent by a client or made here, under one kind of id."""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from api.files import storage
from api.files.references import references
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.jobs.store.prepared_inserts import PreparedInserts

# A request may have named the upload just now, and be about to make its job: the sweep comes back to it.
GRACE = timedelta(minutes=1)


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    def uploads(self) -> Self:
        return self.filter(purpose=StoredFile.Purpose.UPLOAD)

    def unused_since(self, moment: datetime) -> Self:
        """Uploads that nothing refers to, and that nobody sent or named since then; or that were to be kept until now."""
        this = StoredFile.objects.filter(pk=OuterRef("pk"))
        unreferenced = [~Exists(this.filter(**{f"{relation}__isnull": False})) for relation in references()]
        not_in_use = Q(expires_at__isnull=True, used_at__lt=moment)
        expired = Q(expires_at__lt=Now(), used_at__lt=timezone.now() - GRACE)
        return self.uploads().filter(not_in_use | expired, *unreferenced)


class StoredFile(PreparedInserts):
    """A picture in the storage of media. Deleting the row removes the file and its thumbnail once the deletion is committed."""

    class Purpose(models.TextChoices):
        UPLOAD = storage.UPLOAD
        OUTPUT = storage.OUTPUT

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_key = models.CharField(max_length=64)
    purpose = models.CharField(max_length=8, choices=Purpose)
    name = models.CharField(max_length=120, unique=True)
    thumbnail_name = models.CharField(max_length=120, unique=True, null=True, blank=True)
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=20)
    size = models.PositiveBigIntegerField(help_text="bytes")
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(db_default=Now(), help_text="When it was last sent or named in a request.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of an upload that was to be kept until then.")

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner_key", "sha256"], name="file_owner_content"),
            models.Index(fields=["owner_key", "size"], name="file_owner_size"),  # the version before's
            models.Index(fields=["owner_key", "created_at", "size"], name="file_owner_age"),
            models.Index(fields=["expires_at"], name="file_upload_end", condition=models.Q(purpose=storage.UPLOAD)),
            models.Index(fields=["used_at"], name="file_upload_age", condition=models.Q(purpose=storage.UPLOAD)),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {str(self.id)[-12:]}"


class KeptBytes(models.Model):
    """What an owner's files that were made before a moment took when they were added up: never less than they take now (kept_bytes.py)."""

    owner_key = models.CharField(max_length=64, primary_key=True)
    bytes = models.BigIntegerField()
    until = models.DateTimeField(help_text="When the first file was made that is not in the sum.")
    summed_at = models.DateTimeField(help_text="When all were added up last.")

    def __str__(self) -> str:
        return f"{self.owner_key} {self.bytes}"


class JobInput(models.Model):
    """A picture that a job starts from. An upload is kept as long as one such row is there (references.py)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="inputs")
    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="job_inputs")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "file"], name="job_input_once")]

    def __str__(self) -> str:
        return f"{self.file_id} in {self.job_id}"
