"""Whether the model that a judge of pictures uses can be used here."""

from collections.abc import Collection

from django.conf import settings

from api.catalog import UnknownModel
from config.catalog import get_catalog

MODEL_SETTINGS = {
    "clip": "DEFAULT_CLIP_MODEL",
    "aesthetic": "DEFAULT_AESTHETIC_MODEL",
    "objects": "DEFAULT_DETECTION_MODEL",
}
"""The setting that names the model of a criterion."""


def missing_model(setting: str, tasks: Collection[str]) -> str:
    """Why the model that a setting names can't judge here; '' where it can."""
    if not settings.LOAD_MODELS:
        return "the workers of this server load no models (LOAD_MODELS is off)."
    try:
        entry = get_catalog().get(getattr(settings, setting))
    except UnknownModel as error:
        return f"{setting}: {error}"
    return "" if entry.task in tasks else f"{setting}: {entry.id} can't judge that, its task is {entry.task}."
