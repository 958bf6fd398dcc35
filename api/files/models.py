"""Every picture on the server, sent by a client or made here, under one kind of id."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from api.files import storage
from api.jobs.identifiers import uuid7
from api.jobs.models import Job


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    def uploads(self) -> Self:
        return self.filter(purpose=StoredFile.Purpose.UPLOAD)

    def unused_since(self, moment: datetime) -> Self:
        """Uploads that no job uses and that nobody sent or named since then."""
        used = JobInput.objects.filter(file=OuterRef("pk"))
        return self.uploads().filter(~Exists(used), used_at__lt=moment)


class StoredFile(models.Model):
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

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner_key", "sha256"], name="file_owner_content"),
            models.Index(fields=["used_at"], name="file_upload_age", condition=models.Q(purpose=storage.UPLOAD)),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {str(self.id)[-12:]}"


class JobInput(models.Model):
    """A picture that a job starts from. An upload is kept as long as one such row is there."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="inputs")
    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="job_inputs")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "file"], name="job_input_once")]

    def __str__(self) -> str:
        return f"{self.file_id} in {self.job_id}"
