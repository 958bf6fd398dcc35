"""Pictures in every form that clients send them, and a media folder of the test's own."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.files.models import StoredFile
from api.files.services import create_file
from api.files.storage import OUTPUT, write_image_files

OWNER = "ownerkey"


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MIN_FREE_DISK_BYTES = 1
    return settings.MEDIA_ROOT


def picture(size: tuple[int, int] = (32, 16), colour: Any = (200, 40, 90), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def store(*, owner_key: str = OWNER, purpose: str = OUTPUT, colour: Any = (200, 40, 90)) -> StoredFile:
    image = picture(colour=colour)
    return create_file(write_image_files(encode(image), image, "png", purpose=purpose), owner_key=owner_key, purpose=purpose)


def files_below(media: Path) -> list[str]:
    return sorted(path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file())
