"""What a request to look at a picture may say, and what it comes to once everything left open is decided."""

import unicodedata
from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import ModelEntry, UnknownModel
from api.errors import DarkroomError
from api.files.fields import by_content, by_id
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.specs import Spec
from api.vision.detection import DETECTION, OPEN_VOCABULARY
from api.vision.ocr.languages import find_language
from api.vision.ocr.models import OCR, REMOTE_MODEL, check_languages, has_remote
from api.vision.spec import DetectSpec, OcrSpec
from config.catalog import get_catalog


def find_model(model_id: str, tasks: tuple[str, ...], can: str) -> ModelEntry:
    """A model of the catalog for one of these tasks; `can`: what those do, in words. Raises ValidationError."""
    known = ", ".join(entry.id for task in tasks for entry in get_catalog().of_task(task))
    try:
        entry = get_catalog().get(model_id, tasks)
    except UnknownModel as error:
        raise ValidationError(f"{error}{'' if error.nearest else f' Known: {known}.'}", code="unknown_model") from None
    if entry.task not in tasks:
        raise ValidationError(f"'{model_id}' does not {can} (its task is {entry.task}). Known: {known}.", code="wrong_task")
    return entry


class VisionSerializer(JobRequest):
    """Of a request about one picture that a model of the catalog answers."""

    spec: ClassVar[type[Spec]]
    tasks: ClassVar[tuple[str, ...]]
    can: ClassVar[str]
    default_setting: ClassVar[str]

    def validate_model_id(self, value: str) -> str:
        return find_model(value, self.tasks, self.can).id

    def resolve(self) -> Submission:
        data = {"model_id": self.default_model, **self.validated_data}
        return Submission(self.spec.from_json(by_id(data)), fingerprint=by_content(data))

    @property
    def default_model(self) -> str:
        return get_catalog().get(getattr(settings, self.default_setting)).id


class DetectSerializer(VisionSerializer):
    spec = DetectSpec
    tasks = (DETECTION, OPEN_VOCABULARY)
    can = "find things in pictures"
    default_setting = "DEFAULT_DETECTION_MODEL"

    def validate_classes(self, value: list[str]) -> list[str]:
        """In NFC, as the models' own labels are, each once."""
        return list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in value))

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        entry = get_catalog().get(data.get("model_id", self.default_model))
        if entry.task == OPEN_VOCABULARY and not data.get("classes"):
            detail = f"{entry.name} looks for whatever it is asked: say what, in words."
            raise ValidationError({"classes": [detail]}, code="required")
        return data


class OcrSerializer(VisionSerializer):
    spec = OcrSpec
    tasks = (OCR,)
    can = "read text"
    default_setting = "DEFAULT_OCR_MODEL"

    def validate_model_id(self, value: str) -> str:
        return value if value == REMOTE_MODEL and has_remote() else super().validate_model_id(value)

    def validate_languages(self, value: list[str]) -> list[str]:
        """As they are written here, each once."""
        try:
            return list(dict.fromkeys(find_language(code).code for code in value))
        except DarkroomError as error:
            raise ValidationError(error.detail, code=error.code) from None

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            check_languages(data.get("model_id", self.default_model), data["languages"])
        except DarkroomError as error:
            raise ValidationError({"languages": [error.detail]}, code=error.code) from None
        return data

    @property
    def default_model(self) -> str:
        return REMOTE_MODEL if settings.DEFAULT_OCR_MODEL == REMOTE_MODEL else super().default_model


class OcrLanguageSerializer(serializers.Serializer[object]):
    """A language, and what reads it here."""

    code = serializers.CharField(help_text="As `languages` of POST /api/ocr/ takes it.")
    name = serializers.CharField()
    available = serializers.BooleanField()
    engine = serializers.CharField(allow_null=True, help_text="pp-ocr, tesseract or remote.")
    missing_letters = serializers.CharField(help_text="Letters of the language that the engine can't write; rare ones.")
    install = serializers.CharField(allow_null=True, help_text="The line that makes it available, where it is not.")
