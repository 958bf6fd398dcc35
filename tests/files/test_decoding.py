"""What a client's bytes become, and which bytes are refused: GUARANTEES.md, 'Bad input'."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from api.files.decoding import decode_image, encode_png
from api.files.errors import InvalidImage
from tests.files.conftest import encode, picture

RED = (255, 0, 0)


def pixel(data: bytes, mode: Any = "RGB", at: tuple[int, int] = (0, 0)) -> Any:
    return decode_image(data, mode).getpixel(at)


# What must work


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 100})]
)
def test_the_four_formats_are_read(format: str, options: dict[str, Any]) -> None:
    image = decode_image(encode(picture(colour=(250, 250, 250)), format, **options))
    assert (image.mode, image.size) == ("RGB", (32, 16))
    assert min(image.getpixel((3, 3))) >= 248


def test_a_cmyk_jpeg_is_read() -> None:
    assert pixel(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))[0] > 200


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (32896, 128), (257, 1)])
def test_sixteen_bits_of_grey_are_scaled(value: int, expected: int) -> None:
    assert pixel(encode(Image.new("I;16", (8, 8), value))) == (expected,) * 3


def test_a_palette_png_is_read() -> None:
    assert pixel(encode(picture(colour=RED).quantize(4))) == RED


def test_a_transparent_palette_png_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8))
    image.putpalette([255, 0, 0] * 256)
    assert pixel(encode(image, transparency=0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_a_grey_png_is_read(mode: str) -> None:
    assert pixel(encode(picture(colour=255, mode="L").convert(mode))) == (255, 255, 255)


def test_transparency_is_laid_on_white() -> None:
    assert pixel(encode(picture(colour=(255, 0, 0, 0), mode="RGBA"))) == (255, 255, 255)
    assert pixel(encode(picture(colour=(0, 0, 0, 51), mode="RGBA"))) == (204, 204, 204)


def test_a_transparent_webp_is_laid_on_white() -> None:
    assert pixel(encode(picture(colour=(255, 0, 0, 0), mode="RGBA"), "WEBP", lossless=True)) == (255, 255, 255)


def test_a_mask_keeps_its_grey() -> None:
    mask = decode_image(encode(picture(colour=77, mode="L")), "L")
    assert (mask.mode, mask.getpixel((0, 0))) == ("L", 77)


def test_what_is_transparent_in_a_mask_is_not_painted() -> None:
    assert pixel(encode(picture(colour=(255, 255, 255, 0), mode="RGBA")), "L") == 0


def stroke(colour: tuple[int, int, int], *, ground: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Image.Image:
    """A stroke in the left half, its edge half transparent."""
    image = Image.new("RGBA", (32, 16), ground)
    image.paste((*colour, 255), (0, 0, 15, 16))
    image.paste((*colour, 128), (15, 0, 16, 16))
    return image


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"quality": 80})])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 40)])
def test_a_stroke_of_any_colour_on_transparency_is_painted(
    colour: tuple[int, int, int], format: str, options: dict[str, Any]
) -> None:
    mask = decode_image(encode(stroke(colour), format, **options), "L")

    assert [mask.getpixel((column, 8)) for column in (3, 28)] == [255, 0]
    assert 100 < mask.getpixel((15, 8)) < 156


def test_a_mask_of_black_and_white_with_a_hole_is_not_painted_in_the_hole() -> None:
    mask = stroke((255, 255, 255))
    mask.paste((0, 0, 0, 255), (20, 0, 32, 16))

    found = decode_image(encode(mask), "L")

    assert [found.getpixel((column, 8)) for column in (3, 18, 28)] == [255, 0, 0]


def test_an_opaque_black_mask_with_an_alpha_channel_stays_black() -> None:
    assert decode_image(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 255))), "L").getextrema() == (0, 0)


def test_a_photo_is_turned_upright() -> None:
    image = picture((4, 2), (0, 0, 0))
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise
    upright = decode_image(encode(image, exif=exif))
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 0)) == RED


def test_a_phones_photo_with_a_second_picture_behind_it_is_read() -> None:
    data = encode(picture(), "MPO", save_all=True, append_images=[picture(colour=RED)])
    assert decode_image(data).size == (32, 16)


def test_nothing_but_the_pixels_is_kept() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "secret person")
    info.add_itxt("XML:com.adobe.xmp", "<secret/>")
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = encode(picture(), pnginfo=info, exif=exif, icc_profile=b"secret profile", dpi=(300, 300))
    assert b"secret" in data
    kept = encode_png(decode_image(data))
    assert b"secret" not in kept
    assert [kind for kind in (b"tEXt", b"iTXt", b"eXIf", b"iCCP", b"pHYs") if kind in kept] == []


# What must be refused


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidImage) as caught:
        decode_image(data)
    assert caught.value.detail.endswith(".")
    return caught.value.code


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))


def test_no_bytes_are_refused() -> None:
    assert refusal(b"") == "empty"


@pytest.mark.parametrize(
    "data", [b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"\x00" * 64, b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data) == "not_an_image"


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000"])
def test_other_formats_are_refused(format: str) -> None:
    assert refusal(encode(picture(), format)) == "not_an_image"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_truncated_image_is_refused(format: str, part: float) -> None:
    data = encode(NOISE, format)
    assert refusal(data[: int(len(data) * part)]) in ("damaged_image", "not_an_image")


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_is_refused(format: str) -> None:
    data = encode(picture(), format, save_all=True, append_images=[NOISE.resize((32, 16))])
    assert refusal(data) == "animated"


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(5001, 5000), (25_000_001, 1), (9500, 9500), (14_000, 14_000), (2**31 - 1, 2**31 - 1)])
def test_more_than_25_megapixels_are_refused(size: tuple[int, int]) -> None:
    assert refusal(png_header(*size)) == "too_many_pixels"


def test_exactly_25_megapixels_are_not_too_many() -> None:
    assert refusal(png_header(5000, 5000)) == "damaged_image"


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    bomb = encode(Image.new("1", (16_000, 16_000)))
    assert len(bomb) < 100_000
    assert refusal(bomb) == "too_many_pixels"


def test_the_limit_is_a_setting(settings: Any) -> None:
    settings.MAX_IMAGE_PIXELS = 32 * 16 - 1
    assert refusal(encode(picture())) == "too_many_pixels"


def test_a_bomb_in_a_text_chunk_is_refused() -> None:
    text = zlib.compress(b"a" * 100_000_000)
    body = b"Comment\0\0" + text
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encode(picture())
    assert refusal(data[:33] + chunk + data[33:]) in ("damaged_image", "not_an_image")


# Properties

SEEDS = [encode(NOISE, "PNG"), encode(NOISE, "JPEG"), encode(NOISE, "WEBP"), encode(NOISE, "WEBP", lossless=True)]
SEEDS += [encode(NOISE, "AVIF")]
SEEDS += [encode(NOISE.quantize(8), "PNG", transparency=0), encode(NOISE, "MPO", save_all=True, append_images=[NOISE])]
MAGIC = [
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xe1\x00\x20Exif\0\0",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"RIFF\x40\0\0\0WEBPVP8L",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B",
]


def decode_or_refuse(data: bytes) -> None:
    try:
        image = decode_image(data)
    except InvalidImage:
        return
    assert image.mode == "RGB"
    Image.open(io.BytesIO(encode_png(image))).load()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", *MAGIC]))
def test_random_bytes_never_raise_anything_else(data: bytes, magic: bytes) -> None:
    decode_or_refuse(magic + data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.05, 1),
)
def test_damaged_images_never_raise_anything_else(seed: bytes, changes: list[tuple[int, int]], part: float) -> None:
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    decode_or_refuse(bytes(data[: max(1, int(len(data) * part))]))
