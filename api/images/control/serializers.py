"""What a request may say of control maps."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.catalog import CONTROLNET, ModelEntry
from api.files.fields import by_content, by_id
from api.images.control.spec import PreprocessSpec
from api.images.control.use import PREPROCESSORS, ControlUse, kind_of
from api.images.steering_models import CONTROLLED_WITHOUT_SOURCE, choose_models, known_models, named_model
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.spec_serializers import SpecSerializer
from api.strict import ChoiceField
from config.catalog import get_catalog


class ControlSerializer(SpecSerializer):
    spec = ControlUse

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("kind") and data.get("preprocessor"):
            detail = (
                "Send `kind` with a picture that is a map already, or `preprocessor` with one that it is made of; not both."
            )
            raise ValidationError({"preprocessor": [detail]}, code="kind_and_preprocessor")
        if data["start"] >= data["end"]:
            raise ValidationError({"end": [f"Must be above `start`, which is {data['start']:g}."]}, code="empty_window")
        return data


class PreprocessSerializer(JobRequest):
    spec = PreprocessSpec

    kind = ChoiceField(choices=PREPROCESSORS, help_text="Which map is made of the picture.")

    def resolve(self) -> Submission:
        data = self.validated_data
        return Submission(PreprocessSpec.from_json(by_id(data)), fingerprint=by_content(data))


def choose_controlnets(controls: list[dict[str, Any]], entry: ModelEntry, *, has_source: bool) -> None:
    """Sets the `model_id` of each. Raises ValidationError, which names the control and its field."""
    if controls and has_source and entry.family in CONTROLLED_WITHOUT_SOURCE:
        detail = f"{entry.name} is steered where it makes pictures from a prompt alone (POST /api/txt2img/)."
        raise ValidationError({"control": [detail]}, code="unfit_family")
    choose_models("control", CONTROLNET, controls, entry, choose_controlnet)


def choose_controlnet(control: dict[str, Any], entry: ModelEntry) -> ModelEntry:
    return named_model(control["model_id"], entry, CONTROLNET) if control.get("model_id") else usual(control, entry)


def usual(control: dict[str, Any], entry: ModelEntry) -> ModelEntry:
    kind = kind_of(control.get("kind"), control.get("preprocessor"))
    if kind is None:
        raise ValidationError(
            "Say which ControlNet, or what the map is of: `kind`, or `preprocessor` for a picture that is none yet.",
            code="required",
        )
    found = get_catalog().controlnets_for(entry, kind)
    if not found:
        detail = f"There is no ControlNet for {kind} maps and {entry.name} here.{known_models(entry, CONTROLNET)}"
        raise ValidationError(detail, code="no_controlnet")
    return found[0]
