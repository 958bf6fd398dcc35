"""What was judged, and how."""

from django.db import models
from django.db.models.functions import Now

from api.files.models import StoredFile
from api.jobs.identifiers import uuid7
from api.jobs.models import Job


class LayoutScore(models.Model):
    """One verdict of a job on one layout: scores from 0 to 100, every sub-measure, and the reasons in words.

    A headline score is null where nothing speaks for or against it. `scored` says what counted: the image, the variant, both.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="layout_scores")
    index = models.PositiveSmallIntegerField(help_text="Its place in the job's request.")
    owner_key = models.CharField(max_length=64)
    image = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.SET_NULL, related_name="layout_scores")
    overlay = models.OneToOneField(StoredFile, null=True, blank=True, on_delete=models.SET_NULL, related_name="overlay_of")

    aesthetic_score = models.FloatField(null=True, blank=True)
    composition_score = models.FloatField(null=True, blank=True)
    color_harmony_score = models.FloatField(null=True, blank=True)
    balance_score = models.FloatField(null=True, blank=True)
    measures = models.JSONField(default=dict)
    reasoning = models.JSONField(default=list)
    scored = models.JSONField(default=list)

    title = models.TextField(blank=True)
    variant = models.JSONField(default=dict, blank=True)
    event_data = models.JSONField(default=dict, blank=True)
    elements = models.JSONField(default=list, blank=True)
    backend = models.CharField(max_length=60)
    model = models.CharField(max_length=200)
    device = models.CharField(max_length=60)
    duration = models.FloatField(help_text="seconds")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="layout_score_once")]
        indexes = [
            models.Index(fields=["owner_key", "-id"], name="layout_score_owner"),
            models.Index(fields=["backend", "-id"], name="layout_score_backend"),
            models.Index(fields=["-aesthetic_score"], name="layout_score_best"),
        ]

    def __str__(self) -> str:
        score = "–" if self.aesthetic_score is None else f"{self.aesthetic_score:.0f}"
        return f"{score}: {self.title[:60] or 'layout'}"
