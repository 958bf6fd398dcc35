"""What may be asked of a scorer."""

from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import UnknownModel
from api.files.fields import ImageInputField
from api.files.models import StoredFile
from api.files.services import attach_inputs
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.scoring.models import LayoutScore
from api.scoring.scorers import CLIP, DEFAULT, SCORERS, UnknownScorer, check_name, find_backend, find_model
from api.strict import FiniteFloatField, StrictSerializer
from config.catalog import get_catalog

KIND, CLIP_KIND = "layout_score", "clip_score"
MOST_ITEMS, MOST_ELEMENTS, MOST_COMPARED = 64, 200, 64
LONGEST_PROMPT = 2000
LONGEST_CLASSES, LONGEST_TEXT = 1000, 10_000
FARTHEST = 100_000


class VariantSerializer(StrictSerializer):
    gradient = serializers.CharField(max_length=LONGEST_CLASSES, required=False, allow_blank=True, help_text="Tailwind classes")
    font = serializers.CharField(max_length=LONGEST_CLASSES, required=False, allow_blank=True, help_text="Tailwind classes")
    layout = serializers.CharField(max_length=LONGEST_CLASSES, required=False, allow_blank=True, help_text="Tailwind classes")


class EventDataSerializer(StrictSerializer):
    title = serializers.CharField(max_length=LONGEST_TEXT, required=False, allow_blank=True)
    description = serializers.CharField(max_length=LONGEST_TEXT, required=False, allow_blank=True)


class ElementSerializer(StrictSerializer):
    """A box in pixels of the picture; what reaches past its edge is cut off."""

    kind = serializers.CharField(max_length=40, default="other", help_text="text, title, button, image, …")
    x = FiniteFloatField(min_value=-FARTHEST, max_value=FARTHEST)
    y = FiniteFloatField(min_value=-FARTHEST, max_value=FARTHEST)
    w = FiniteFloatField(min_value=0, max_value=FARTHEST)
    h = FiniteFloatField(min_value=0, max_value=FARTHEST)


class ScoreItemSerializer(StrictSerializer):
    """One layout. In a form, `variant`, `event_data` and `elements` are JSON text."""

    image = ImageInputField(required=False)
    variant = VariantSerializer(required=False)
    event_data = EventDataSerializer(required=False)
    elements = ElementSerializer(many=True, required=False, max_length=MOST_ELEMENTS)  # type: ignore[call-arg]
    deep = serializers.BooleanField(default=False, help_text="Also the slow measure of clutter, subband entropy.")

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


class ByBackend(StrictSerializer):
    """Which scorer shall judge, and with which of its models."""

    backend = serializers.CharField(max_length=60, default=DEFAULT, help_text=f"One of {', '.join(SCORERS)}.")
    model_id = serializers.CharField(
        max_length=200, required=False, help_text="One of the backend's models in the catalog; by default its first."
    )

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
    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = super().validate(data)
        if error := image_error(data["backend"], data):
            raise ValidationError(error, code="image_required")
        return {**data, "model_id": settle_model(data)}

    def resolve(self) -> Submission:
        data = dict(self.validated_data)
        return make_submission([data], describe(data), data)


class ScoreBatchSerializer(ByBackend):
    items = ScoreItemSerializer(many=True, min_length=1, max_length=MOST_ITEMS)  # type: ignore[call-arg]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        found = ((str(place), image_error(data["backend"], item)) for place, item in enumerate(data["items"]))
        if errors := {place: error for place, error in found if error}:
            raise ValidationError({"items": errors}, code="image_required")
        return {**data, "model_id": settle_model(data)}

    def resolve(self) -> Submission:
        data = self.validated_data
        return make_submission(data["items"], {"items": [describe(item) for item in data["items"]]}, data)


def check_clip(model_id: str) -> str:
    """The catalog's id. Raises ValidationError for what is no CLIP of the catalog."""
    try:
        entry = get_catalog().get(model_id)
    except UnknownModel as error:
        raise ValidationError(str(error), code="unknown_model") from None
    if entry.task != CLIP:
        known = ", ".join(model.id for model in get_catalog().of_task(CLIP))
        raise ValidationError(
            f"'{model_id}' compares no pictures with words (its task is {entry.task}). Known: {known}.", "wrong_task"
        )
    return entry.id


class ClipScoreSerializer(StrictSerializer):
    """Pictures against prompts. In a form, `images` and `prompts` are repeated, or JSON lists."""

    images = serializers.ListField(child=ImageInputField(), min_length=1, max_length=MOST_COMPARED)
    prompts = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST_PROMPT), min_length=1, max_length=MOST_COMPARED
    )
    model_id = serializers.CharField(
        max_length=200, required=False, help_text="A CLIP of the catalog; else DEFAULT_CLIP_MODEL."
    )
    pairs = serializers.BooleanField(
        default=False, help_text="Also the i-th image with the i-th prompt, in `pairs`; only those are kept in the history."
    )

    def validate_model_id(self, value: str) -> str:
        return check_clip(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["pairs"] and len(data["images"]) != len(data["prompts"]):
            detail = f"For pairs there must be as many prompts ({len(data['prompts'])}) as images ({len(data['images'])})."
            raise ValidationError({"prompts": [detail]}, code="not_pairs")
        return data

    def resolve(self) -> Submission:
        data = self.validated_data
        files: list[StoredFile] = data["images"]
        params = {
            "images": [str(file.pk) for file in files],
            "prompts": data["prompts"],
            "pairs": data["pairs"],
            "model_id": data.get("model_id") or get_catalog().get(settings.DEFAULT_CLIP_MODEL).id,
        }
        return Submission(
            kind=CLIP_KIND,
            params=params,
            model_id=params["model_id"],
            prompt=data["prompts"][0],
            fingerprint={**params, "images": [file.sha256 for file in files]},
            link=lambda job: attach_inputs(job, files),
        )


def describe(item: dict[str, Any]) -> dict[str, Any]:
    """As it is kept in the job: everything decided, the image by its id."""
    image = item.get("image")
    return {
        "image": str(image.pk) if image else None,
        "variant": dict(item.get("variant", {})),
        "event_data": dict(item.get("event_data", {})),
        "elements": [dict(element) for element in item.get("elements", [])],
        "deep": item["deep"],
    }


def make_submission(items: list[dict[str, Any]], params: dict[str, Any], chosen: dict[str, Any]) -> Submission:
    """`chosen`: the backend, and its model's id (None for a backend without models)."""
    by = {"backend": chosen["backend"], "model_id": chosen["model_id"]}
    files = [item["image"] for item in items if item.get("image")]
    asked = [{**describe(item), "image": item["image"].sha256 if item.get("image") else None} for item in items]

    def link(job: Job) -> None:
        attach_inputs(job, files)

    return Submission(
        kind=KIND,
        params={**params, **by},
        model_id=by["model_id"] or by["backend"],
        prompt=next((title for item in items if (title := item.get("event_data", {}).get("title"))), "")[:2000],
        fingerprint={**by, "batch": "items" in params, "items": asked},
        link=link if files else None,
    )


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

    def address(self, file: Any) -> str | None:
        return self.context["request"].build_absolute_uri(f"/api/images/{file}/file/") if file else None
