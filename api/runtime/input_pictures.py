"""The pictures that a request starts from, opened in a worker."""

from PIL import Image

from api.files.decoding import Mode
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image


def open_input(identifier: str, mode: Mode = "RGB") -> Image.Image:
    """By the id of a StoredFile, upright: an upload was turned as its EXIF says when it was stored. Raises MissingFile."""
    file = StoredFile.objects.filter(pk=identifier).first()
    if file is None:
        raise MissingFile
    return open_image(file, mode)
