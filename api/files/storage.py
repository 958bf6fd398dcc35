"""Files below MEDIA_ROOT: written whole or not at all, and durable when the function returns."""

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from PIL import Image

from api.jobs.disk import DiskFull, ensure_free_space, free_space
from api.jobs.identifiers import uuid7
from api.outages import is_disk_full

__all__ = ["DiskFull", "ensure_free_space", "free_space"]
UPLOAD, OUTPUT = "upload", "output"
PURPOSES = (UPLOAD, OUTPUT)
CONTENT_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
THUMBNAIL_SIDE = 384


@dataclass(frozen=True)
class WrittenFile:
    """A picture and its thumbnail on disk, before there is a row. Names are paths below MEDIA_ROOT."""

    id: uuid.UUID
    name: str
    thumbnail_name: str
    sha256: str
    size: int
    content_type: str
    width: int
    height: int


def write_image_files(
    data: bytes, image: Image.Image, extension: str, *, purpose: str = OUTPUT, id: uuid.UUID | None = None
) -> WrittenFile:
    """Writes `data` (an encoded picture, whose pixels are `image`) and a thumbnail; `extension` is png, jpg or webp.

    Raises DiskFull, and leaves nothing behind then. The caller makes the row with `create_file`, or calls `remove_written`.
    """
    identifier = id or uuid7()
    folder = f"{purpose}/{datetime.now(UTC):%Y/%m/%d}"
    name = write_file(folder, data, extension, stem=str(identifier))
    try:
        thumbnail_name = write_file(folder, make_thumbnail(image), "webp", stem=f"{identifier}_t")
    except BaseException:
        remove_file(name)
        raise
    return WrittenFile(
        id=identifier,
        name=name,
        thumbnail_name=thumbnail_name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        content_type=CONTENT_TYPES[extension],
        width=image.width,
        height=image.height,
    )


def remove_written(written: WrittenFile) -> None:
    """For a picture that was written but never got its row."""
    remove_file(written.name)
    remove_file(written.thumbnail_name)


def make_thumbnail(image: Image.Image) -> bytes:
    small = image.convert("RGB") if image.mode != "RGB" else image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=1.0)  # whole pixels are averaged first: half the time
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def write_file(folder: str, data: bytes, extension: str, *, stem: str | None = None) -> str:
    """`.part` → fsync → rename → fsync of the folder. Returns the name below MEDIA_ROOT. Raises DiskFull."""
    name = f"{folder}/{stem or uuid7()}.{extension}"
    path = media_path(name)
    part = path.with_name(path.name + ".part")
    with no_space_is_disk_full():
        make_folder(path.parent)
        try:
            write_durably(part, data)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return name


@contextmanager
def no_space_is_disk_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull from error
        raise


def write_durably(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """The folder and its parents, each name durable in the one above it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def media_path(name: str) -> Path:
    """Where a row's file is. Names come from rows alone, never from a URL."""
    return Path(settings.MEDIA_ROOT) / name


def remove_file(name: str) -> None:
    if name:
        media_path(name).unlink(missing_ok=True)
