"""What people say of pictures and layouts, over HTTP, and what may be asked of the training."""

import uuid
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.scoring.models import Comparison, CustomScorer, Rating
from api.scoring.serializers import check_clip
from api.scoring.spec import On, TrainScorerSpec
from api.scoring.taste.judgements import Subject, compare, subjects
from api.scoring.taste.scorers import PREFIX
from api.scoring.taste.training import check_enough
from api.strict import StrictSerializer

WHOLE = "A whole number from 1 to 5 is required."


class StarsField(serializers.IntegerField):
    """1-5. No 2.0, no "3", no true: what is rounded or read out of something else is not what was meant."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_value=1, max_value=5, error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), WHOLE), **kwargs
        )

    def to_internal_value(self, data: object) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise ValidationError(WHOLE, code="invalid")
        return super().to_internal_value(data)


class JudgementSerializer(StrictSerializer):
    """`context`: principal."""

    def principal(self) -> Principal:
        return self.context["principal"]  # type: ignore[no-any-return]

    def find(self, field: str, on: On, identifier: uuid.UUID) -> Subject:
        """Raises ValidationError; another owner's is not found."""
        found = subjects(self.principal(), on).filter(pk=identifier).first()
        if found is None:
            what = "layout score" if on == "layouts" else "image"
            raise ValidationError({field: [f"There is no {what} with this id."]}, code="not_found")
        return found


def only_one(data: dict[str, Any], image: str, layout: str) -> tuple[str, On]:
    """The field that says what is judged, and what that is."""
    named = [name for name in (image, layout) if name in data]
    if len(named) != 1:
        raise ValidationError({image: [f"Name one of {image} and {layout}."]}, code="required" if not named else "invalid")
    return named[0], "layouts" if named[0] == layout else "images"


class GiveRatingSerializer(JudgementSerializer):
    image = serializers.UUIDField(required=False, help_text="The id of an image here, made or uploaded.")
    layout = serializers.UUIDField(required=False, help_text="The id of a layout's score.")
    rating = StarsField()

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        field, on = only_one(data, "image", "layout")
        return {"subject": self.find(field, on, data[field]), "stars": data["rating"]}

    def save(self, **kwargs: object) -> Rating:
        data = self.validated_data
        given: Rating = data["subject"].ratings.give(owner_key=self.principal().owner_key, stars=data["stars"])
        return given


class PairField(serializers.ListField):
    child = serializers.UUIDField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=2, max_length=2, required=False, **kwargs)

    def to_internal_value(self, data: Any) -> list[uuid.UUID]:
        pair = super().to_internal_value(data)
        if len(set(pair)) < len(pair):
            raise ValidationError("Two different ones are needed: this is one, twice.", code="same")
        return pair


class GiveComparisonSerializer(JudgementSerializer):
    images = PairField(help_text="Two images' ids.")
    layouts = PairField(help_text="Two layout scores' ids.")
    preferred = serializers.UUIDField(allow_null=True, help_text="One of the two; null for a tie.")

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        field, on = only_one(data, "images", "layouts")
        pair = data[field]
        if data["preferred"] not in (*pair, None):
            raise ValidationError(
                {"preferred": [f"Must be one of the two in {field}, or null for a tie."]}, code="not_one_of_them"
            )
        found = {identifier: self.find(field, on, identifier) for identifier in pair}
        return {"first": found[pair[0]], "second": found[pair[1]], "preferred": found.get(data["preferred"])}

    def save(self, **kwargs: object) -> Comparison:
        return compare(owner_key=self.principal().owner_key, **self.validated_data)


# ---------------------------------------------------------------- what is read


class RatingSerializer(serializers.ModelSerializer[Rating]):
    image = serializers.UUIDField(source="file_id", allow_null=True, read_only=True)
    layout = serializers.UUIDField(source="layout_id", allow_null=True, read_only=True)
    rating = serializers.IntegerField(source="stars", read_only=True, min_value=1, max_value=5)
    rater = serializers.CharField(source="owner_key", read_only=True)

    class Meta:
        model = Rating
        fields = ("id", "image", "layout", "rating", "rater", "rated_at")
        read_only_fields = fields


class ComparisonSerializer(serializers.ModelSerializer[Comparison]):
    """`images` or `layouts`, whichever it is of; the other is null."""

    images = serializers.SerializerMethodField()
    layouts = serializers.SerializerMethodField()
    preferred = serializers.SerializerMethodField()
    rater = serializers.CharField(source="owner_key", read_only=True)

    class Meta:
        model = Comparison
        fields = ("id", "images", "layouts", "preferred", "rater", "compared_at")
        read_only_fields = fields

    def get_images(self, comparison: Comparison) -> list[uuid.UUID] | None:
        return [comparison.file_a_id, comparison.file_b_id] if comparison.file_a_id and comparison.file_b_id else None

    def get_layouts(self, comparison: Comparison) -> list[uuid.UUID] | None:
        return [comparison.layout_a_id, comparison.layout_b_id] if comparison.layout_a_id and comparison.layout_b_id else None

    def get_preferred(self, comparison: Comparison) -> uuid.UUID | None:
        a, b = self.get_images(comparison) or self.get_layouts(comparison) or (None, None)
        return {Comparison.Outcome.A: a, Comparison.Outcome.B: b}.get(Comparison.Outcome(comparison.outcome))


class FigureSerializer(serializers.Serializer[object]):
    """With its 95 % interval, over `count` pairs or pictures; null where there was nothing to count."""

    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    count = serializers.IntegerField()


class CurvePointSerializer(serializers.Serializer[object]):
    judgements = serializers.IntegerField()
    pair_accuracy = FigureSerializer()


class CustomScorerSerializer(serializers.ModelSerializer[CustomScorer]):
    backend = serializers.SerializerMethodField()
    job = serializers.UUIDField(source="job_id", allow_null=True, read_only=True)
    raters = serializers.ListField(child=serializers.CharField(), read_only=True)
    pair_accuracy = FigureSerializer(source="figures.pair_accuracy", read_only=True)
    rank_correlation = FigureSerializer(source="figures.rank_correlation", read_only=True)
    learning_curve = CurvePointSerializer(source="figures.learning_curve", many=True, read_only=True)
    summary = serializers.CharField(source="figures.summary", read_only=True)
    weights = serializers.DictField(
        source="figures.weights",
        child=serializers.FloatField(),
        read_only=True,
        help_text="By how much one standard deviation of a measure moves the log odds of being preferred. The embedding's have no names.",
    )

    class Meta:
        model = CustomScorer
        fields = (
            "name", "version", "backend", "on", "encoder", "raters", "ratings", "comparisons", "learned", "summary",
            "pair_accuracy", "rank_correlation", "learning_curve", "weights", "job", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_backend(self, scorer: CustomScorer) -> str:
        return f"{PREFIX}{scorer}"


class ScorerVersionsSerializer(CustomScorerSerializer):
    """The newest version, or the one that was asked for, and which others there are."""

    versions = serializers.SerializerMethodField()

    class Meta(CustomScorerSerializer.Meta):
        fields = (*CustomScorerSerializer.Meta.fields, "versions")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]

    def get_versions(self, scorer: CustomScorer) -> list[int]:
        return list(CustomScorer.objects.filter(name=scorer.name).order_by("-version").values_list("version", flat=True))


# ---------------------------------------------------------------- training


class TrainScorerSerializer(JobRequest):
    spec = TrainScorerSpec

    def validate_encoder(self, value: str) -> str:
        return check_clip(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        check_enough(data["on"], data.get("raters"))
        return data

    def resolve(self) -> Submission:
        data = self.validated_data
        encoder = data.get("encoder", settings.DEFAULT_CLIP_MODEL if settings.LOAD_MODELS else "")
        return Submission(TrainScorerSpec.from_json({**data, "encoder": encoder}))
