"""What a request may say of control maps."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import CONTROLNET, ModelEntry, UnknownModel, fits_model
from api.files.fields import by_content, by_id
from api.images.control.spec import PreprocessSpec
from api.images.control.use import PREPROCESSORS, ControlUse, kind_of
from api.images.family_names import family_name
from api.images.scheduler_presets import UNET_FAMILIES
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.spec_serializers import SpecSerializer
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

    kind = serializers.ChoiceField(choices=PREPROCESSORS, help_text="Which map is made of the picture.")

    def resolve(self) -> Submission:
        data = self.validated_data
        return Submission(PreprocessSpec.from_json(by_id(data)), fingerprint=by_content(data))


def choose_controlnets(controls: list[dict[str, Any]], entry: ModelEntry) -> None:
    """Sets the `model_id` of each. Raises ValidationError, which names the control and its field."""
    if controls and entry.family not in UNET_FAMILIES:
        detail = f"{entry.name} is {family_name(entry.family)}; only {', '.join(sorted(map(family_name, UNET_FAMILIES)))} are steered here."
        raise ValidationError({"control": [detail]}, code="unsupported_family")
    errors = [choose_controlnet(control, entry) for control in controls]
    if any(errors):
        raise ValidationError({"control": errors})


def choose_controlnet(control: dict[str, Any], entry: ModelEntry) -> dict[str, list[Any]]:
    """What is wrong with it; {} where it has its ControlNet now."""
    try:
        chosen = named(control["model_id"], entry) if control.get("model_id") else usual(control, entry)
    except ValidationError as error:
        return {"model_id": error.detail}  # type: ignore[dict-item]
    control["model_id"] = chosen.id
    return {}


def named(model_id: str, entry: ModelEntry) -> ModelEntry:
    try:
        control = get_catalog().get(model_id)
    except UnknownModel as error:
        raise ValidationError(f"{error}{'' if error.nearest else known_controlnets(entry)}", code="unknown_model") from None
    if control.task != CONTROLNET:
        raise ValidationError(
            f"'{model_id}' is no ControlNet (its task is {control.task}).{known_controlnets(entry)}", code="wrong_task"
        )
    if not fits_model(control, entry):
        raise ValidationError(describe_misfit(control, entry), code="control_mismatch")
    return control


def usual(control: dict[str, Any], entry: ModelEntry) -> ModelEntry:
    kind = kind_of(control.get("kind"), control.get("preprocessor"))
    if kind is None:
        raise ValidationError(
            "Say which ControlNet, or what the map is of: `kind`, or `preprocessor` for a picture that is none yet.",
            code="required",
        )
    found = get_catalog().controlnets_for(entry, kind)
    if not found:
        detail = f"There is no ControlNet for {kind} maps and {entry.name} here.{known_controlnets(entry)}"
        raise ValidationError(detail, code="no_controlnet")
    return found[0]


def describe_misfit(control: ModelEntry, entry: ModelEntry) -> str:
    """Names both."""
    if control.base:
        base = get_catalog().get(control.base)
        return f"'{control.id}' is a ControlNet for {base.name} alone, and the request's model is {entry.name}."
    return f"'{control.id}' is a ControlNet for {family_name(control.family)}, and {entry.name} is {family_name(entry.family)}."


def known_controlnets(entry: ModelEntry) -> str:
    known = [control.id for control in get_catalog().of_task(CONTROLNET) if fits_model(control, entry)]
    return f" Known for this model: {', '.join(known[:20])}." if known else ""
