"""PNG files that OpenCV writes: Pillow's own are the reference, for pixels, texts and everything that OpenCV can't hold."""

import io
import json
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.files.encoders import OPENCV_ORDER, encode_with_pillow, insert_chunks
from api.files.formats import FORMATS, encode
from api.images.metadata import encode_image
from tests.live import ROOT
from tests.parameters import read_parameters

PNG = FORMATS["png"]
ALL_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
SIZES = ((1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (33, 31), (257, 64), (65_535, 3), (3, 65_535))
TEXTS = ["", "a lake", "größer als ÿ", "озеро, 湖 🌅", "a\nb\tc", "x" * 300_000, "é" * 70_000, "\x00 between"]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    """Every byte by chance, so that no channel may be taken for another."""
    flat = Image.new(mode, size)
    return Image.frombytes(mode, size, random.Random(7).randbytes(len(flat.tobytes())))


def drawing(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


def text_info(*texts: str) -> PngInfo:
    info = PngInfo()
    for number, text in enumerate(texts):
        info.add_text(f"text{number}", text)
    return info


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Also a check of each sum, and that nothing follows the end."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(name + content),)
        found.append((name, content))
        place += 12 + length
    assert found[-1] == (b"IEND", b"")
    return found


def without_pixels(data: bytes) -> list[tuple[bytes, bytes]]:
    return [chunk for chunk in chunks_of(data) if chunk[0] != b"IDAT"]


def read(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


@pytest.fixture
def opencv_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with each picture that OpenCV writes."""
    calls: list[Any] = []
    write: Callable[..., Any] = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *given: calls.append(given) or write(*given))
    return calls


@pytest.mark.parametrize("mode", ALL_MODES)
@sizes
def test_a_file_has_the_pixels_and_the_chunks_of_pillow_s(mode: str, size: tuple[int, int]) -> None:
    image, info = noise(mode, size), text_info("a lake", "озеро")
    ours, plain = (write(image, info) for write in (write_here, write_plainly))
    assert without_pixels(ours) == without_pixels(plain)
    assert (read(ours).mode, read(ours).tobytes()) == (read(plain).mode, read(plain).tobytes())


def write_here(image: Image.Image, info: PngInfo | None = None) -> bytes:
    return encode(image, PNG, pnginfo=info)


def write_plainly(image: Image.Image, info: PngInfo | None = None) -> bytes:
    return encode_with_pillow(image, "PNG", {"pnginfo": info})


@pytest.mark.parametrize("mode", ALL_MODES)
def test_opencv_writes_the_modes_that_it_knows(mode: str, opencv_calls: list[Any]) -> None:
    write_here(noise(mode, (8, 8)))
    assert bool(opencv_calls) == (mode in OPENCV_ORDER)


@pytest.mark.parametrize("mode", ["CMYK", "HSV", "I", "F"])
def test_modes_that_png_has_not_are_pillow_s_error(mode: str) -> None:
    with pytest.raises(OSError, match=f"cannot write mode {mode} as PNG"):
        write_here(Image.new(mode, (2, 2)))


def test_red_stays_red() -> None:
    assert read(write_here(Image.new("RGB", (2, 2), (250, 30, 7)))).getpixel((0, 0)) == (250, 30, 7)
    assert read(write_here(Image.new("RGBA", (2, 2), (250, 30, 7, 99)))).getpixel((1, 1)) == (250, 30, 7, 99)


def test_colours_under_full_transparency_are_kept() -> None:
    assert read(write_here(Image.new("RGBA", (1, 1), (250, 30, 7, 0)))).getpixel((0, 0)) == (250, 30, 7, 0)


def test_a_part_of_a_picture_is_written_as_that_part() -> None:
    part = noise("RGB", (40, 30)).crop((3, 4, 20, 15))
    assert read(write_here(part)).tobytes() == part.tobytes()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{len(text)} {text[:5]!r}")
def test_texts_are_pillow_s_bytes_right_behind_the_header(text: str) -> None:
    ours, plain = (without_pixels(write(drawing(), text_info(text, "second"))) for write in (write_here, write_plainly))
    assert ours == plain
    assert [name for name, _ in ours] == [b"IHDR", b"tEXt" if is_latin(text) else b"iTXt", b"tEXt", b"IEND"]


def is_latin(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def test_compressed_texts_are_written_too() -> None:
    info = PngInfo()
    info.add_text("long", "la " * 1000, zip=True)
    info.add_itxt("tongue", "озеро", lang="ru", tkey="язык", zip=True)
    image = read(write_here(drawing(), info))
    assert image.text == {"long": "la " * 1000, "tongue": "озеро"}  # type: ignore[attr-defined]
    assert image.text["tongue"].lang == "ru"  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", OPENCV_ORDER)
@pytest.mark.parametrize("prompt", ["a lake", "озеро 湖 🌅", 'quoted "words": a, b', "🌅" * 50_000], ids=lambda text: text[:5])
def test_parameters_are_read_from_every_mode(mode: str, prompt: str) -> None:
    parameters = {"prompt": prompt, "seed": 42, "loras": []}
    data = encode_image(noise(mode, (33, 17)), "png", parameters, pytest.fail)
    assert read_parameters(data) == parameters
    assert read(data).text.keys() == {"parameters", "darkroom"}  # type: ignore[attr-defined]


def test_a_file_without_texts_has_nothing_but_pixels() -> None:
    assert [name for name, _ in without_pixels(write_here(drawing()))] == [b"IHDR", b"IEND"]


@pytest.mark.parametrize("mode", OPENCV_ORDER)
def test_the_same_picture_gives_the_same_bytes(mode: str) -> None:
    image, info = noise(mode, (90, 70)), text_info("озеро")
    assert len({write_here(image.copy(), info) for _ in range(5)}) == 1


def test_no_other_place_of_the_server_writes_png() -> None:
    places = [path for path in (ROOT / "api").rglob("*.py") if "starter" not in path.parts and '"PNG"' in path.read_text()]
    assert [path.name for path in places] == ["formats.py"]


OTHER_CHUNK = PngInfo()
OTHER_CHUNK.add(b"gAMA", struct.pack(">I", 45_455))
AFTER_PIXELS = PngInfo()
AFTER_PIXELS.add(b"vpAg", b"private", after_idat=True)


@pytest.mark.parametrize(
    ("options", "chunk"),
    [
        ({"icc_profile": b"a profile"}, b"iCCP"),
        ({"transparency": (1, 2, 3)}, b"tRNS"),
        ({"dpi": (72, 72)}, b"pHYs"),
        ({"exif": b"Exif\x00\x00II*\x00"}, b"eXIf"),
        ({"pnginfo": OTHER_CHUNK}, b"gAMA"),
        ({"pnginfo": AFTER_PIXELS}, b"vpAg"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_other_chunks_are_written_by_pillow(options: dict[str, Any], chunk: bytes, opencv_calls: list[Any]) -> None:
    assert chunk in [name for name, _ in without_pixels(encode(drawing(), PNG, **options))]
    assert not opencv_calls


@pytest.mark.parametrize(("key", "value"), [("icc_profile", b"a profile"), ("transparency", (0, 0, 0))])
def test_what_a_picture_brings_along_is_written_as_pillow_does(key: str, value: Any) -> None:
    image = drawing()
    image.info[key] = value
    assert read(write_here(image)).info[key] == value


@pytest.mark.parametrize("size", [(1_000_001, 1), (1, 1_000_001)])
def test_a_side_longer_than_libpng_takes_is_written_by_pillow(size: tuple[int, int], opencv_calls: list[Any]) -> None:
    image = Image.new("L", size, 9)
    assert chunks_of(write_here(image))[0][1][:8] == struct.pack(">II", *size)
    assert not opencv_calls


def test_the_longest_side_that_libpng_takes_is_written_by_opencv(opencv_calls: list[Any]) -> None:
    assert read(write_here(Image.new("L", (1_000_000, 1), 9))).size == (1_000_000, 1)
    assert opencv_calls


def test_chunks_stand_behind_the_header_in_their_order() -> None:
    plain = write_plainly(drawing())
    names = [name for name, _ in chunks_of(insert_chunks(plain, [(b"tEXt", b"a\x00b"), (b"iTXt", b"c\x00\x00\x00\x00\x00d")]))]
    assert names[:3] == [b"IHDR", b"tEXt", b"iTXt"]
    assert insert_chunks(plain, []) == plain


def test_other_threads_go_on_while_opencv_writes() -> None:
    write_here(drawing())
    image = noise("RGB", (3000, 3000))
    writing = threading.Thread(target=write_here, args=(image,))
    turns = 0
    writing.start()
    while writing.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 20  # some hundred milliseconds; with the GIL held there are hardly two


def run_python(lines: str) -> Any:
    """What these lines print, as JSON, in a process of their own."""
    return json.loads(subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, check=True).stdout)


def test_opencv_starts_no_threads_for_it() -> None:
    before, after = run_python("""
import json, cv2, psutil
from PIL import Image
from api.files.formats import FORMATS, encode
process = psutil.Process()
before = process.num_threads()
encode(Image.effect_noise((2000, 2000), 80).convert("RGB"), FORMATS["png"])
print(json.dumps([before, process.num_threads()]))
""")
    assert after == before


def test_what_a_web_process_writes_needs_neither_opencv_nor_numpy() -> None:
    loaded = run_python("""
import json, sys
from PIL import Image
from api.files.decoding import encode_png
from api.files.formats import FORMATS, THUMBNAIL, encode
picture = Image.new("RGB", (64, 64))
encode_png(picture), encode(picture, THUMBNAIL)
before = [name in sys.modules for name in ("cv2", "numpy")]
encode(picture, FORMATS["png"])
print(json.dumps([before, [name in sys.modules for name in ("cv2", "numpy")]]))
""")
    assert loaded == [[False, False], [True, True]]
