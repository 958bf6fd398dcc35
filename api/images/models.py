"""The pictures that were made, with everything that made them."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from api.files.models import StoredFile
from api.jobs.models import Job


class Tag(models.Model):
    """A word that people put on pictures to find them again."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class GeneratedImage(models.Model):
    """One picture of a job. Its id is its file's, so that it can be named wherever an image is asked for."""

    file = models.OneToOneField(StoredFile, primary_key=True, on_delete=models.CASCADE, related_name="generated")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="images")
    index = models.PositiveSmallIntegerField(help_text="Its place in the job's request.")
    owner_key = models.CharField(max_length=64)
    source = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="derived")

    model_id = models.CharField(max_length=200)
    prompt = models.TextField()
    negative_prompt = models.TextField(blank=True)
    seed = models.BigIntegerField()
    steps = models.PositiveSmallIntegerField()
    guidance_scale = models.FloatField()
    scheduler = models.CharField(max_length=40, blank=True)
    strength = models.FloatField(null=True, blank=True)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict, help_text="All of the request, resolved.")

    rank = models.PositiveSmallIntegerField(null=True, blank=True)
    scores = models.JSONField(default=dict, blank=True)
    clip_score = models.FloatField(null=True, blank=True)  # 0-100: the one of `scores`, where an index is
    rating = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(5)])
    favourite = models.BooleanField(default=False)
    tags = models.ManyToManyField(Tag, blank=True, related_name="images")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        verbose_name = "picture"
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="image_once")]
        indexes = [
            models.Index(fields=["owner_key", "-file"], name="image_owner"),
            models.Index(fields=["model_id", "-file"], name="image_model"),
            models.Index(fields=["seed"], name="image_seed"),
            models.Index(fields=["-clip_score"], name="image_score"),
            models.Index(fields=["-rating"], name="image_rating"),
        ]

    def __str__(self) -> str:
        return f"{self.prompt[:60]} ({self.seed})"
