"""What was found in pictures."""

from django.db import models
from django.db.models.functions import Now

from api.files.models import StoredFile
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.vision.spec import LONGEST_LABEL


class Detection(models.Model):
    """One thing that a detector found, with its box in pixels of the picture as a person sees it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="detections")
    index = models.PositiveSmallIntegerField(help_text="Its place in the job's result, the best score first.")
    owner_key = models.CharField(max_length=64)
    image = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.SET_NULL, related_name="detections")
    model_id = models.CharField(max_length=200)
    label = models.CharField(max_length=LONGEST_LABEL)
    class_id = models.PositiveIntegerField(help_text="The model's number of the class, or the label's place in the request.")
    score = models.FloatField()
    xmin = models.FloatField(db_column="box_xmin")  # xmin and xmax are system columns of PostgreSQL
    ymin = models.FloatField(db_column="box_ymin")
    xmax = models.FloatField(db_column="box_xmax")
    ymax = models.FloatField(db_column="box_ymax")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="detection_once")]
        indexes = [
            models.Index(fields=["label", "-id"], name="detection_label"),
            models.Index(fields=["model_id", "-id"], name="detection_model"),
            models.Index(fields=["-score"], name="detection_best"),
        ]

    def __str__(self) -> str:
        return f"{self.label[:60]} ({self.score:.2f})"

    @property
    def width(self) -> float:
        return self.xmax - self.xmin

    @property
    def height(self) -> float:
        return self.ymax - self.ymin

    @property
    def box(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("xmin", "ymin", "xmax", "ymax")}
