"""What may be asked of a scorer."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import UnknownModel
from api.files.fields import by_content, by_id
from api.files.job_serializers import FileJobSerializer
from api.files.models import StoredFile
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.scoring.models import LayoutScore
from api.scoring.scorers import CLIP, UnknownScorer, check_name, find_backend, find_model
from api.scoring.spec import ClipScoreSpec, ElementBox, EventData, LayoutSpec, ScoreBatchSpec, ScoreItem, ScoreSpec, Variant
from api.spec_serializers import SpecSerializer
from config.catalog import get_catalog


class VariantSerializer(SpecSerializer):
    spec = Variant


class EventDataSerializer(SpecSerializer):
    spec = EventData


class ElementSerializer(SpecSerializer):
    spec = ElementBox


class ScoreItemSerializer(SpecSerializer):
    spec: ClassVar[type[Any]] = ScoreItem

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        words = {**data.get("variant", {}), **data.get("event_data", {})}
        image = data.get("image")
        if image is None and not any(words.values()):
            raise ValidationError(
                {"image": ["There is nothing to score: send an image, a variant or event_data."]}, code="required"
            )
        if data.get("elements"):
            check_elements(data["elements"], image)
        return data


def check_elements(elements: list[dict[str, Any]], image: StoredFile | None) -> None:
    if image is None:
        raise ValidationError({"elements": ["Elements are boxes in an image, and there is none."]}, code="no_image")
    found = ((str(place), element_error(element, image)) for place, element in enumerate(elements))
    errors = {place: error for place, error in found if error}
    if errors:
        raise ValidationError({"elements": errors}, code="outside")


def element_error(element: dict[str, Any], image: StoredFile) -> dict[str, list[str]]:
    x, y, w, h = (element[name] for name in "xywh")
    for name, side in (("w", w), ("h", h)):
        if side <= 0:
            return {name: ["The box has no area."]}
    for name, start, side, end in (("x", x, w, image.width), ("y", y, h, image.height)):
        if start >= end or start + side <= 0:
            return {name: [f"The box is outside the picture, which is {image.width} × {image.height} pixels."]}
    return {}


class ByBackend(FileJobSerializer):
    spec: ClassVar[type[LayoutSpec]]

    def validate_backend(self, value: str) -> str:
        try:
            return check_name(value)
        except UnknownScorer as error:
            raise ValidationError(str(error), code="unknown_backend") from None


def settle_model(data: dict[str, Any]) -> str | None:
    """The id of the model that the backend is to use. Raises ValidationError."""
    try:
        entry = find_model(data["backend"], data.get("model_id"))
    except UnknownModel as error:
        raise ValidationError({"model_id": [str(error)]}, code="unknown_model") from None
    except UnknownScorer as error:
        raise ValidationError({"model_id": [str(error)]}, code="wrong_model") from None
    return entry.id if entry else None


def image_error(backend: str, item: dict[str, Any]) -> dict[str, list[str]]:
    if item.get("image") or not find_backend(backend).needs_image:
        return {}
    return {"image": [f"The backend '{backend}' judges pictures alone: send an image."]}


class ScoreSerializer(ByBackend, ScoreItemSerializer):
    spec = ScoreSpec

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = super().validate(data)
        if error := image_error(data["backend"], data):
            raise ValidationError(error, code="image_required")
        return {**data, "model_id": settle_model(data)}


class ScoreBatchSerializer(ByBackend):
    spec = ScoreBatchSpec

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        found = ((str(place), image_error(data["backend"], item)) for place, item in enumerate(data["items"]))
        if errors := {place: error for place, error in found if error}:
            raise ValidationError({"items": errors}, code="image_required")
        return {**data, "model_id": settle_model(data)}


def check_clip(model_id: str) -> str:
    """The catalog's id. Raises ValidationError for what is no CLIP of the catalog."""
    try:
        entry = get_catalog().get(model_id, (CLIP,))
    except UnknownModel as error:
        raise ValidationError(str(error), code="unknown_model") from None
    if entry.task != CLIP:
        known = ", ".join(model.id for model in get_catalog().of_task(CLIP))
        raise ValidationError(
            f"'{model_id}' compares no pictures with words (its task is {entry.task}). Known: {known}.", "wrong_task"
        )
    return entry.id


class ClipScoreSerializer(JobRequest):
    spec = ClipScoreSpec

    def validate_model_id(self, value: str) -> str:
        return check_clip(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["pairs"] and len(data["images"]) != len(data["prompts"]):
            detail = f"For pairs there must be as many prompts ({len(data['prompts'])}) as images ({len(data['images'])})."
            raise ValidationError({"prompts": [detail]}, code="not_pairs")
        return data

    def resolve(self) -> Submission:
        data = dict(self.validated_data)
        data.setdefault("model_id", get_catalog().get(settings.DEFAULT_CLIP_MODEL).id)
        return Submission(ClipScoreSpec.from_json(by_id(data)), fingerprint=by_content(data))


# ---------------------------------------------------------------- what is read


class LayoutScoreSerializer(serializers.ModelSerializer[LayoutScore]):
    """A verdict as it was given, with what was judged."""

    job = serializers.UUIDField(source="job_id", read_only=True)
    image = serializers.UUIDField(source="image_id", read_only=True, allow_null=True)  # type: ignore[assignment]
    overlay = serializers.UUIDField(source="overlay_id", read_only=True, allow_null=True)
    reasoning = serializers.ListField(child=serializers.CharField(), read_only=True)
    measures = serializers.DictField(read_only=True)
    scored = serializers.ListField(child=serializers.CharField(), read_only=True)
    variant = serializers.DictField(read_only=True)
    event_data = serializers.DictField(read_only=True)
    elements = serializers.ListField(child=serializers.DictField(), read_only=True)
    image_url = serializers.SerializerMethodField()
    overlay_url = serializers.SerializerMethodField()

    class Meta:
        model = LayoutScore
        fields = (
            "id", "job", "index", "image", "image_url", "overlay", "overlay_url", "aesthetic_score", "composition_score",
            "color_harmony_score", "balance_score", "reasoning", "measures", "scored", "variant", "event_data", "elements",
            "backend", "model", "device", "duration", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_image_url(self, score: LayoutScore) -> str | None:
        return self.address(score.image_id)

    def get_overlay_url(self, score: LayoutScore) -> str | None:
        return self.address(score.overlay_id)

    def address(self, file: object) -> str | None:
        return self.context["request"].build_absolute_uri(f"/api/images/{file}/file/") if file else None
