"""What was judged, and how."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from api.files.models import StoredFile
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.scoring.spec import LONGEST_SCORER_NAME, ON_CHOICES


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


class PromptScore(models.Model):
    """How well one picture fits one prompt, by one CLIP model. The other figures follow from the cosine (api/scoring/prompts.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="prompt_scores")
    owner_key = models.CharField(max_length=64)
    image = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.SET_NULL, related_name="prompt_scores")
    image_index = models.PositiveSmallIntegerField(help_text="Its place in the job's request.")
    prompt_index = models.PositiveSmallIntegerField(help_text="Its place in the job's request.")
    prompt = models.TextField()
    clip_cosine = models.FloatField(help_text="-1 to 1; to be compared within one model only.")
    clip_model = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["job", "image_index", "prompt_index"], name="prompt_score_once")]
        indexes = [
            models.Index(fields=["clip_model", "-id"], name="prompt_score_model"),
            models.Index(fields=["-clip_cosine"], name="prompt_score_best"),
        ]

    def __str__(self) -> str:
        return f"{self.clip_cosine:.3f}: {self.prompt[:60]}"


class InputVectors(models.Model):
    """The vectors of a job's inputs, in their order: apart from its row, since up to 2,048 of them are megabytes that no list needs."""

    job = models.OneToOneField(Job, primary_key=True, on_delete=models.CASCADE, related_name="input_vectors")
    dimensions = models.PositiveIntegerField()
    data = models.BinaryField(help_text="float32, little-endian, one vector behind another")

    def __str__(self) -> str:
        return f"{len(self.rows())} vectors of {self.dimensions}"

    def rows(self) -> list[bytes]:
        data, size = bytes(self.data), 4 * self.dimensions
        return [data[start : start + size] for start in range(0, len(data), size)]


# ---------------------------------------------------------------- what people say


class RatingManager(models.Manager["Rating"]):
    def give(self, *, owner_key: str, stars: int, **subject: Any) -> "Rating":
        """The one way in which stars are given: `file.ratings.give(…)`, `layout.ratings.give(…)`. New ones replace a rater's old."""
        said = {"stars": stars, "rated_at": timezone.now()}
        return self.update_or_create(owner_key=owner_key, **subject, defaults=said)[0]


class Rating(models.Model):
    """One rater's stars for one picture, or for one layout. A picture's page shows the newest of them (api/images/signals.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_key = models.CharField(max_length=64, help_text="The rater.")
    file = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.CASCADE, related_name="ratings")
    layout = models.ForeignKey(LayoutScore, null=True, blank=True, on_delete=models.CASCADE, related_name="ratings")
    stars = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    rated_at = models.DateTimeField(default=timezone.now)

    objects = RatingManager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner_key", "file"], name="rating_once"),
            models.UniqueConstraint(fields=["owner_key", "layout"], name="rating_of_layout_once"),
            models.CheckConstraint(
                condition=Q(file__isnull=True) ^ Q(layout__isnull=True),
                name="rating_has_one_subject",
            ),
            models.CheckConstraint(condition=Q(stars__gte=1, stars__lte=5), name="rating_stars"),
        ]
        indexes = [models.Index(fields=["owner_key", "-id"], name="rating_owner")]

    def __str__(self) -> str:
        return "★" * self.stars


class Comparison(models.Model):
    """One rater's choice between two pictures, or two layouts: `a` is the older of the two, whichever was shown on the left."""

    class Outcome(models.IntegerChoices):
        TIE = 0
        A = 1
        B = 2

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_key = models.CharField(max_length=64, help_text="The rater.")
    file_a = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.CASCADE, related_name="comparisons_a")
    file_b = models.ForeignKey(StoredFile, null=True, blank=True, on_delete=models.CASCADE, related_name="comparisons_b")
    layout_a = models.ForeignKey(LayoutScore, null=True, blank=True, on_delete=models.CASCADE, related_name="comparisons_a")
    layout_b = models.ForeignKey(LayoutScore, null=True, blank=True, on_delete=models.CASCADE, related_name="comparisons_b")
    outcome = models.PositiveSmallIntegerField(choices=Outcome)
    compared_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner_key", "file_a", "file_b"], name="comparison_once"),
            models.UniqueConstraint(fields=["owner_key", "layout_a", "layout_b"], name="comparison_of_layouts_once"),
            models.CheckConstraint(
                condition=Q(file_a__isnull=False, file_b__isnull=False, layout_a__isnull=True, layout_b__isnull=True)
                | Q(file_a__isnull=True, file_b__isnull=True, layout_a__isnull=False, layout_b__isnull=False),
                name="comparison_of_two_alike",
            ),
            models.CheckConstraint(condition=Q(outcome__in=[0, 1, 2]), name="comparison_outcome"),
        ]
        indexes = [models.Index(fields=["owner_key", "-id"], name="comparison_owner")]

    def __str__(self) -> str:
        return self.Outcome(self.outcome).label


# ---------------------------------------------------------------- what is learned from it


class PictureFeatures(models.Model):
    """A picture's measures and embedding, kept so that training looks at it once. `extractor` names the models that made them."""

    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="features")
    extractor = models.CharField(max_length=240)
    measures = models.JSONField()
    embedding = models.BinaryField(help_text="float32, little-endian")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "extractor"], name="features_once")]

    def __str__(self) -> str:
        return f"{self.file_id} by {self.extractor}"


class CustomScorer(models.Model):
    """One version of a scorer that was trained here. It serves everybody, as `custom:NAME` (the newest) or `custom:NAME@VERSION`.

    `taste` is what a worker needs to judge with it (api/scoring/backends/taste.py): a few kilobytes, so it lives with its row.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(max_length=LONGEST_SCORER_NAME)
    version = models.PositiveIntegerField()
    on = models.CharField(max_length=8, choices=ON_CHOICES)
    owner_key = models.CharField(max_length=64, help_text="Who trained it.")
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="custom_scorers")
    encoder = models.CharField(max_length=200)
    raters = models.JSONField(default=list, help_text="Whose judgements it learned from.")
    ratings = models.PositiveIntegerField()
    comparisons = models.PositiveIntegerField()
    learned = models.BooleanField(help_text="Whether it is better than chance on pictures that it had not seen.")
    figures = models.JSONField()
    taste = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="custom_scorer_version")]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def judgements(self) -> int:
        """From how many it learned."""
        return self.ratings + self.comparisons
