"""MEDIA_STORAGE, MEDIA_STORAGE_BEFORE and MEDIA_DELIVERY: what is wrong with them as they stand, and what a trial of the storage shows."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.files.storage import Storage, storages

from api.files import storage
from api.outages import StorageRefused
from config.failures import INSTALL
from config.media import S3

SETTINGS = {"default": "MEDIA_STORAGE", "before": "MEDIA_STORAGE_BEFORE"}
HINT = "{0} is disk, s3 or the dotted name of a Django storage class, {0}_OPTIONS its arguments as JSON."
INSTALL_S3 = f"This installs them, as ./start.sh does: {INSTALL} requirements-s3.txt"
IDENTIFIER = "darkroom.E030"
AWAY_CURE = "Start it, or correct endpoint_url in MEDIA_STORAGE_OPTIONS; see also the network between."


def media_storage_messages() -> Iterator[CheckMessage]:
    """Asks no network."""
    for alias, setting in SETTINGS.items():
        if alias in settings.STORAGES:
            yield from messages_of(alias, setting)
    if "before" in settings.STORAGES and settings.STORAGES["before"] == settings.STORAGES["default"]:
        message = "MEDIA_STORAGE_BEFORE is the storage that MEDIA_STORAGE is."
        yield Error(message, hint="Set it to the one that files are moved from, or unset it.", id="darkroom.E071")


def messages_of(alias: str, setting: str) -> Iterator[CheckMessage]:
    place = try_to_make(alias, setting)
    if isinstance(place, Error):
        yield place
        return
    for fault in getattr(place, "faults", tuple)():
        yield Error(f"{setting}_OPTIONS: {fault}.", id=IDENTIFIER)
    if alias == "default" and settings.MEDIA_DELIVERY == "signed" and not hasattr(place, "signed_url"):
        message = "MEDIA_DELIVERY is signed, and this MEDIA_STORAGE gives no signed addresses."
        yield Warning(message, hint="Unset MEDIA_DELIVERY, or set MEDIA_STORAGE=s3.", id="darkroom.W071")


def try_to_make(alias: str, setting: str) -> Storage | Error:
    try:
        return storages[alias]
    except Exception as error:  # what a storage makes of wrong options is its own: botocore's errors, TypeError, ValueError …
        if is_not_installed(alias, error):
            return Error(f"{setting} is s3, and its Python packages are not installed.", hint=INSTALL_S3, id=IDENTIFIER)
        reason = " ".join(str(error).split()).rstrip(".") or error.__class__.__name__
        return Error(f"{setting}: the storage of pictures can't be made: {reason}.", hint=HINT.format(setting), id=IDENTIFIER)


def is_not_installed(alias: str, error: Exception) -> bool:
    table: Any = settings.STORAGES[alias]
    return table["BACKEND"] == S3 and isinstance(error.__cause__, ModuleNotFoundError)


def try_storage() -> str:
    """Why no file can be written, read and removed in a storage elsewhere; '' where it can. Raises OSError where it does not answer."""
    if storage.media_folder() is not None:
        return ""
    try:
        storage.try_out()
    except StorageRefused as error:
        return str(error)
    except FileNotFoundError:
        where = f"The storage of pictures ({storage.describe_storage()})"
        return f"{where} says 404 to what is written. Correct endpoint_url: no storage of S3's protocol answers there."
    return ""


def describe_absence(error: OSError) -> str:
    """What `try_storage` raised, with its cure. Without the number of the error, which says nothing to people."""
    return f"{error.strerror or error} {AWAY_CURE}"
