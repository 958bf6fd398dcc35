"""The thumbnail that every picture in the storage has beside it."""

from PIL import Image

from api.files.decoding import flatten
from api.files.formats import THUMBNAIL, encode

THUMBNAIL_SIDE = 384
"""In pixels, of the longer side."""


def make_thumbnail(image: Image.Image) -> bytes:
    """Of a picture with transparency it has that, too."""
    small = flatten(image, "RGBA") if image.mode != "RGB" else image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=1.0)  # whole pixels are averaged first: half the time
    return encode(small, THUMBNAIL, quality=80, method=2)
