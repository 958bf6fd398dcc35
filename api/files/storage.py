"""The media: pictures and thumbnails in Django's default storage (STORAGES), which is a folder or an object store.

Nothing outside api/files/ knows how a file is kept: it has the name from a row, and these functions. While files move from one storage
to another (`manage.py move_media`), that of MEDIA_STORAGE_BEFORE is read, too, and written never.
"""

import errno
import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, default_storage, storages
from PIL import Image

from api import tracing
from api.files.formats import FORMATS, THUMBNAIL
from api.files.thumbnails import make_thumbnail
from api.jobs.disk import DiskFull, disk_usage, ensure_free_space, free_space
from api.jobs.identifiers import uuid7
from api.json_types import JsonObject
from api.metric_definitions import storage_failures, storage_seconds
from api.outages import is_disk_full

__all__ = ["DiskFull", "ensure_free_space", "free_space"]
UPLOAD, OUTPUT = "upload", "output"
PURPOSES = (UPLOAD, OUTPUT)
CACHED_THUMBNAILS = 1000
"""Of a storage elsewhere, in the memory of each process: some 20 kB each."""
Found = TypeVar("Found")
log = logging.getLogger("darkroom.files")


@dataclass(frozen=True)
class WrittenFile:
    """A picture and its thumbnail in the storage, before there is a row. Names are the storage's."""

    id: uuid.UUID
    name: str
    thumbnail_name: str
    sha256: str
    size: int
    content_type: str
    width: int
    height: int
    credentials: JsonObject | None = None
    """What is said of the Content Credentials in the file, where it has some."""

    @property
    def credentials_field(self) -> JsonObject:
        """For the picture in a job's result; nothing where the file has none."""
        return {"content_credentials": self.credentials} if self.credentials else {}


def write_image_files(
    data: bytes, image: Image.Image, format: str, *, purpose: str = OUTPUT, id: uuid.UUID | None = None
) -> WrittenFile:
    """Writes `data` (an encoded picture, whose pixels are `image`) and a thumbnail; `format` is a name of FORMATS.

    Raises DiskFull, and leaves nothing behind then. The caller makes the row with `create_file`, or calls `remove_written`.
    """
    row, identifier = FORMATS[format], id or uuid7()
    folder = f"{purpose}/{datetime.now(UTC):%Y/%m/%d}"
    name = thumbnail_name = ""
    try:
        with syncing_folders_once():
            name = write_file(folder, data, row.suffixes[0], stem=str(identifier))
            thumbnail_name = write_file(folder, make_thumbnail(image), THUMBNAIL.suffixes[0], stem=f"{identifier}_t")
    except BaseException:
        remove_quietly(name)
        remove_quietly(thumbnail_name)
        raise
    return WrittenFile(
        id=identifier,
        name=name,
        thumbnail_name=thumbnail_name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        content_type=row.content_type,
        width=image.width,
        height=image.height,
    )


def remove_written(written: WrittenFile) -> None:
    """For a picture that was written but never got its row."""
    remove_quietly(written.name)
    remove_quietly(written.thumbnail_name)


def remove_quietly(name: str) -> None:
    """Where it can't be removed now, the sweep of orphans does it: what went wrong before is what has to be told."""
    try:
        remove_file(name)
    except OSError as error:
        log.warning("%s is left to the sweep of orphans: %s", name, error)


def write_file(folder: str, data: bytes, suffix: str, *, stem: str | None = None) -> str:
    """The name under which the storage keeps `data`. Raises DiskFull."""
    with asked(default_storage, "write"):
        return default_storage.save(f"{folder}/{stem or uuid7()}{suffix}", ContentFile(data))


@contextmanager
def asked(place: Storage, operation: str) -> Iterator[None]:
    """Times and counts what is asked of a storage, with `storage_errors`. A file that isn't there is an answer, too."""
    name = "disk" if isinstance(place, FileSystemStorage) else "elsewhere"
    try:
        timed = storage_seconds.time(name, operation)
        with tracing.part(f"storage {operation}", {"darkroom.storage": name}), timed, storage_errors():
            yield
    except FileNotFoundError:
        raise
    except OSError:
        storage_failures.add(name, operation)
        raise


@contextmanager
def syncing_folders_once() -> Iterator[None]:
    """Where the storage is a folder: what is written within is on the disk at its end. Raises DiskFull."""
    with ExitStack() as stack:
        stack.enter_context(getattr(default_storage, "syncing_folders_once", nullcontext)())
        yield
        with storage_errors():
            stack.close()


@contextmanager
def storage_errors() -> Iterator[None]:
    """A full disk is DiskFull. What the library of a storage elsewhere raises is an OSError, as a network disk's that went away."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull from error
        raise
    except Exception as error:
        raise OSError(errno.ENOTCONN, "The storage of pictures does not answer.") from error


# ---------------------------------------------------------------- what is there, by a row's name


def open_file(name: str) -> File:
    """For reading bytes. Raises FileNotFoundError."""
    return find("open", lambda place: place.open(name, "rb"))


def read_bytes(name: str) -> bytes:
    """Raises FileNotFoundError."""
    with open_file(name) as file:
        return file.read()  # type: ignore[no-any-return]


@lru_cache(maxsize=CACHED_THUMBNAILS)
def read_thumbnail(name: str) -> bytes:
    """Raises FileNotFoundError."""
    return read_bytes(name)


def file_size(name: str) -> int:
    """In bytes. Raises FileNotFoundError."""
    return find("size", lambda place: place.size(name))


def file_exists(name: str) -> bool:
    with asked(default_storage, "exists"):
        return any(place.exists(name) for place in places_to_look())


def remove_file(name: str) -> None:
    """From everywhere: a file that was moved may still be where it was."""
    if name:
        for place in places():
            with asked(place, "delete"):
                place.delete(name)


def find(operation: str, ask: Callable[[Storage], Found]) -> Found:
    """What is found in the first place that has the file. Raises FileNotFoundError."""
    missing = FileNotFoundError()
    for place in places_to_look():
        try:
            with asked(place, operation):
                return ask(place)
        except FileNotFoundError as error:
            missing = error
    raise missing


def places() -> list[Storage]:
    """The storage that is written to, and the one that files are moved from."""
    return [default_storage, storages["before"]] if "before" in settings.STORAGES else [default_storage]


def places_to_look() -> list[Storage]:
    """The first once more at the end: the file may have been moved while we looked."""
    found = places()
    return found + found[:1] if len(found) > 1 else found


# ---------------------------------------------------------------- where it is, for people and for the proxy in front


def media_folder() -> Path | None:
    """The folder on this machine that holds the media; None where the storage is elsewhere."""
    return Path(default_storage.location) if isinstance(default_storage, FileSystemStorage) else None


def is_on_this_disk(name: str) -> bool:
    """Not where it is still in a storage elsewhere, which it is moved from."""
    folder = media_folder()
    return folder is not None and (len(places()) == 1 or (folder / name).is_file())


def signed_url(name: str, content_type: str, disposition: str) -> str:
    """An address in the storage itself, which needs no key; '' where it gives none, or the file has not been moved there yet."""
    sign = getattr(default_storage, "signed_url", None)
    if sign is None:
        return ""
    with storage_errors():
        is_there = len(places()) == 1 or default_storage.exists(name)
        return str(sign(name, content_type, disposition)) if is_there else ""


def write_trial() -> str:
    """The name of a small file that the sweep takes for an orphan, where nobody removes it before. Raises OSError and DiskFull."""
    return write_file(f"{UPLOAD}/{datetime.now(UTC):%Y/%m/%d}", b"a trial", THUMBNAIL.suffixes[0])


def try_out() -> None:
    """Writes, reads, lists and removes a file. Raises OSError."""
    name = write_trial()
    try:
        read_bytes(name)
        with storage_errors():
            default_storage.listdir(UPLOAD)
    finally:
        remove_file(name)


def describe_storage(alias: str = "default") -> str:
    """For people."""
    place = storages[alias]
    return str(getattr(place, "location" if isinstance(place, FileSystemStorage) else "place", "a storage elsewhere"))


def describe_place(name: str) -> str:
    """Where a person finds the file: its path, or its name in a storage without paths."""
    folder = media_folder()
    return str(folder / name) if folder else name


def free_media_bytes() -> int | None:
    """None where the storage tells no end of its room."""
    return disk_usage(default_storage.location).free if isinstance(default_storage, FileSystemStorage) else None
