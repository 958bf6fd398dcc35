"""Pictures: where each comes from, what made it, and what people say of it."""

import uuid
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from api.files.models import StoredFile
from api.images.spec import LONGEST_MODEL_ID, LONGEST_PRESET_NAME, LONGEST_SCHEDULER, LONGEST_TAG
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.jobs.store.prepared_inserts import PreparedInserts


class Tag(models.Model):
    """A word that people put on pictures to find them again."""

    name = models.CharField(max_length=LONGEST_TAG, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ImageQuerySet(models.QuerySet["GeneratedImage"]):
    def made_here(self) -> Self:
        """All but uploads. Not as `origin IN …`, for which SQLite would sort nearly the whole table."""
        return self.exclude(origin=GeneratedImage.Origin.UPLOADED)


class GeneratedImage(PreparedInserts):
    """One picture. Its id is its file's, so that it can be named wherever an image is asked for.

    What only some origins have is null in the others, or empty where it is text.
    """

    class Origin(models.TextChoices):
        GENERATED = "generated", _("Generated")
        EDITED = "edited", _("Edited")
        UPSCALED = "upscaled", _("Upscaled")
        PREPROCESSED = "preprocessed", _("Preprocessed")
        ANNOTATED = "annotated", _("Annotated")
        GRID = "grid", _("Grid")
        UPLOADED = "uploaded", _("Uploaded")

    file = models.OneToOneField(StoredFile, primary_key=True, on_delete=models.CASCADE, related_name="generated")
    origin = models.CharField(max_length=12, choices=Origin, default=Origin.GENERATED)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.CASCADE, related_name="images")
    index = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Its place in the job's request.")
    owner_key = models.CharField(max_length=64)
    sources = models.ManyToManyField(
        "self", through="ImageSource", through_fields=("image", "source"), symmetrical=False, related_name="derived"
    )

    model_id = models.CharField(max_length=LONGEST_MODEL_ID, blank=True)
    prompt = models.TextField(blank=True)
    negative_prompt = models.TextField(blank=True)
    seed = models.BigIntegerField(null=True, blank=True)
    steps = models.PositiveSmallIntegerField(null=True, blank=True)
    guidance_scale = models.FloatField(null=True, blank=True)
    scheduler = models.CharField(max_length=LONGEST_SCHEDULER, blank=True)
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

    objects = ImageQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = "picture"
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="image_once")]
        indexes = [
            models.Index(fields=["owner_key", "-file"], name="image_owner"),
            models.Index(fields=["model_id", "-file"], name="image_model"),
            models.Index(fields=["origin", "-file"], name="image_origin"),
            models.Index(fields=["seed"], name="image_seed"),
            # The orders of galleries, by keyset: of all pictures, and of one owner's. Those without a value are in none of them.
            models.Index(fields=["-clip_score", "-file"], name="image_best_match", condition=Q(clip_score__isnull=False)),
            models.Index(fields=["-rating", "-file"], name="image_best_rated", condition=Q(rating__isnull=False)),
            models.Index(
                fields=["owner_key", "-clip_score", "-file"], name="image_owner_match", condition=Q(clip_score__isnull=False)
            ),
            models.Index(fields=["owner_key", "-rating", "-file"], name="image_owner_rated", condition=Q(rating__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.origin if self.seed is None else f"{self.prompt[:60]} ({self.seed})"

    @property
    def is_generated(self) -> bool:
        """Whether a prompt made it, so that it can be made again. An edited picture may be one that was cut out, which has no seed."""
        return self.origin in (self.Origin.GENERATED, self.Origin.EDITED) and self.seed is not None

    @property
    def source_id(self) -> uuid.UUID | None:
        """The first picture that it was made from. For lists, prefetch `source_links`."""
        return next((link.source_id for link in self.source_links.all()), None)


class ImageSource(models.Model):
    """A picture that another one was made from, and what for."""

    class Role(models.TextChoices):
        IMAGE = "image", _("Image")
        MASK = "mask", _("Mask")
        CONTROL = "control", _("Control")
        PROMPT = "prompt", _("Prompt")

    image = models.ForeignKey(GeneratedImage, on_delete=models.CASCADE, related_name="source_links")
    source = models.ForeignKey(GeneratedImage, on_delete=models.CASCADE, related_name="derived_links")
    role = models.CharField(max_length=8, choices=Role, default=Role.IMAGE)
    position = models.PositiveSmallIntegerField(default=0, help_text="Its place among the sources of the picture.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["image", "position"], name="image_source_once")]

    def __str__(self) -> str:
        return f"{self.source_id} as {self.role} of {self.image_id}"


class Preset(models.Model):
    """A request with a name, its owner's or everybody's, that other requests begin with. Each change of it is a new version."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(max_length=LONGEST_PRESET_NAME, help_text="Letters, digits, - and _.")
    owner_key = models.CharField(max_length=64)
    shared = models.BooleanField(default=False, help_text="Every key may name it; else only its owner.")
    description = models.CharField(max_length=500, blank=True)
    last_version = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["owner_key", "name"], name="preset_once"),
            models.UniqueConstraint(fields=["name"], condition=Q(shared=True), name="shared_preset_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.last_version}"


class PresetVersion(models.Model):
    """What a preset's request was at a time; it never changes."""

    preset = models.ForeignKey(Preset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    request = models.JSONField(default=dict)
    parameters = models.JSONField(default=list, help_text="Those of its fields that a request may change.")
    created_by = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["preset", "number"], name="preset_version_once")]

    def __str__(self) -> str:
        return f"{self.preset.name}@{self.number}"
