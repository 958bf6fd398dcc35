"""A client's bytes become pixels here and nowhere else.

What is known from the header (format, dimensions, animation) is judged before a pixel is decoded: 25 megapixels are
100 MB in memory, and a file of a few hundred kilobytes can claim far more.
"""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from django.conf import settings
from PIL import Image, ImageOps, UnidentifiedImageError

from api.files.errors import InvalidImage
from api.files.formats import ANIMATED_CODECS, CODECS, UPLOAD, encode, list_labels
from api.files.masks import has_its_shape_in_alpha

Mode = Literal["RGB", "L", "RGBA"]
# What Pillow raises for damaged files, apart from OSError.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,  # libavif's
    struct.error,
    zlib.error,
)
LARGE = 1_200_000  # pixels; a picture of 25 million takes up to about 300 MB
_one_large = threading.RLock()


def decode_image(data: bytes, mode: Mode = "RGB") -> Image.Image:
    """Upright pixels in `mode`, without any metadata. Raises InvalidImage and nothing else.

    RGB: transparency is laid on white. L (masks): on black, which is "not painted"; of a stroke of one colour on transparency
    the alpha channel is taken. RGBA: transparency is kept, and a picture without any is RGB.
    """
    if not data:
        raise InvalidImage("The image is empty: send base64, a data URL, a file, or the id of an image here.", "empty")
    with room_for(data):
        try:
            with Image.open(io.BytesIO(data), formats=CODECS) as image:
                check_header(image)
                image.load()
                return flatten(ImageOps.exif_transpose(image), mode)
        except InvalidImage:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise too_many_pixels() from None
        except UnidentifiedImageError:
            raise InvalidImage(f"This is not a {list_labels()} image.", "not_an_image") from None
        except DAMAGED:
            raise InvalidImage("The image is damaged or cut off.", "damaged_image") from None


@contextmanager
def room_for(data: bytes) -> Iterator[None]:
    """One large picture at a time in this process, for as long as its pixels are needed."""
    if count_pixels(data) <= LARGE:
        yield
        return
    with _one_large:
        yield


def count_pixels(data: bytes) -> int:
    """By the header; 0 for what is no picture, which `decode_image` says."""
    try:
        with Image.open(io.BytesIO(data), formats=CODECS) as image:
            return image.width * image.height
    except (*DAMAGED, UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 0


def may_be_transparent(data: bytes) -> bool:
    """By the header, in no time: whether the format's pixels have transparency. False for what is no picture."""
    try:
        with Image.open(io.BytesIO(data), formats=CODECS) as image:
            return image.has_transparency_data
    except (*DAMAGED, UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return False


def check_header(image: Image.Image) -> None:
    """An MPO (a phone's JPEG with a second picture behind the first) is taken as the JPEG that it begins with."""
    if image.width * image.height > settings.MAX_IMAGE_PIXELS:
        raise too_many_pixels()
    if image.format in ANIMATED_CODECS and getattr(image, "is_animated", False):
        raise InvalidImage("Animated images are not supported.", "animated")


def too_many_pixels() -> InvalidImage:
    return InvalidImage(f"The image has more than {settings.MAX_IMAGE_PIXELS / 1e6:g} megapixels.", "too_many_pixels")


def flatten(image: Image.Image, mode: Mode) -> Image.Image:
    """Eight bits a channel; opaque, but for RGBA."""
    if image.mode.startswith("I"):  # 16 bits of grey: convert() would clip them instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if mode == "RGBA":
        mode = "RGBA" if image.has_transparency_data else "RGB"
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if mode == "L" and has_its_shape_in_alpha(image):
            return image.getchannel("A")
        opaque = Image.new("RGB", image.size, "white" if mode == "RGB" else "black")
        opaque.paste(image, mask=image.getchannel("A"))
        image = opaque
    pixels = image.convert(mode)
    pixels.info = {}
    return pixels


def encode_png(image: Image.Image) -> bytes:
    """As uploads are kept."""
    return encode(image, UPLOAD)
