"""Upscalers by AUTOMATIC1111's names of them."""

import os

from rest_framework.exceptions import ValidationError

from api.catalog import LONGEST_NAME, UPSCALING, ModelEntry
from api.images.png_info.resolving import find_entry, names_like
from api.images.upscaling.serializers import check_upscaler
from config.catalog import get_catalog

NONE = "None"
LATENT_MODES = ("Latent",)
FILES = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN 2x+": "RealESRGAN_x2plus",
    "R-ESRGAN General 4xV3": "realesr-general-x4v3",
    "R-ESRGAN General WDN 4xV3": "realesr-general-wdn-x4v3",
    "R-ESRGAN AnimeVideo": "realesr-animevideov3",
}
"""What it calls the files that it fetches by itself. Clients have these names built in; here they are files of the library."""
LABELS = {file.lower(): label for label, file in FILES.items()}


def list_upscalers() -> list[tuple[str, ModelEntry]]:
    """Each with the name that it has for clients."""
    return [(label_of(entry), entry) for entry in get_catalog().of_task(UPSCALING)]


def label_of(entry: ModelEntry) -> str:
    if entry.path is None or not entry.single_file:
        return entry.name if entry.id in ("lanczos", "nearest") else entry.id
    stem = os.path.splitext(entry.path.name)[0]
    return LABELS.get(stem.lower(), stem)


def find_upscaler(name: str) -> str:
    """The id of an upscaler. Raises ValidationError, which lists those that there are."""
    name = name.strip()
    known = FILES.get(name, name)
    entry: ModelEntry | None = find_entry(get_catalog().find_model, [*names_like(known), name.lower()])
    if entry is not None:
        return check_upscaler(entry.id)
    names = ", ".join([NONE, *(label for label, _ in list_upscalers()[:50])])
    raise ValidationError(f"There is no upscaler '{name[:LONGEST_NAME]}'. Known: {names}.", code="unknown_upscaler")
