"""What the dialects keep beside the jobs."""

from django.db import models

from api.jobs.models import Job


class A1111Options(models.Model):
    """One owner's options of the AUTOMATIC1111 dialect: those that differ from the defaults (a1111/option_table.py)."""

    owner_key = models.CharField(max_length=64, unique=True)
    values = models.JSONField(default=dict)

    class Meta:
        verbose_name = verbose_name_plural = "AUTOMATIC1111 options"
        ordering = ["owner_key"]

    def __str__(self) -> str:
        return self.owner_key


class A1111Task(models.Model):
    """The name that a client gave to its job (`force_task_id`), by which it asks for that job's progress."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="+")
    owner_key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)

    class Meta:
        verbose_name = "AUTOMATIC1111 task"
        indexes = [models.Index(fields=["owner_key", "name"], name="a1111_task_name")]

    def __str__(self) -> str:
        return self.name


class StoredResponse(models.Model):
    """What a request to /v1/responses asked besides its chat, which its job holds: for the answers that repeat it."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="response")
    stored = models.BooleanField(help_text="Whether its client may read it again, and go on from it.")
    asked = models.JSONField(help_text="The request's fields, without its input.")

    class Meta:
        verbose_name = "response"

    def __str__(self) -> str:
        return f"resp_{self.job_id.hex}"
