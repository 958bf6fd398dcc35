"""Labels in any script: which letters they keep, and the fonts that have them. No Django.

Labels are drawn with Pillow and DejaVu Sans, which has every Vietnamese letter; OpenCV's putText draws some of them as others.
"""

import lzma
import unicodedata
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

FONTS = (
    Path(__file__).with_name("fonts") / "DejaVuSans.ttf.xz",  # 0.3 MB in a checkout instead of 0.8
    Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),  # Chinese, Japanese, Korean: Debian's fonts-wqy-microhei
)
"""The first that has a letter draws it; those that aren't there are left out."""
NO_CHARACTER = "\U0010ffff"
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def clean_label(label: str) -> str:
    """NFC, on one line, without characters that have no shape: DejaVu Sans has ờ, and no letter for o, horn and grave."""
    text = " ".join(unicodedata.normalize("NFC", label).split())
    return "".join(
        character
        for character in text
        if unicodedata.category(character) not in INVISIBLE and character not in VARIATION_SELECTORS
    )


def shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def text_width(text: str, size: int) -> float:
    return sum(font_of(path, size).getlength(run) for path, run in runs_of(text))


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, fill: tuple[int, int, int]) -> None:
    """One line, from its left end; `place` is the middle of its height."""
    x, y = place
    for path, run in runs_of(text):
        font = font_of(path, size)
        draw.text((x, y), run, font=font, fill=fill, anchor="lm")
        x += font.getlength(run)


# ---------------------------------------------------------------- fonts


@cache
def fonts() -> tuple[Path, ...]:
    return tuple(path for path in FONTS if path.is_file())


@cache
def font_of(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(lzma.decompress(path.read_bytes())) if path.suffix == ".xz" else path, size)


def runs_of(text: str) -> Iterator[tuple[Path, str]]:
    """Parts of the text, each with the font that has its letters."""
    for path, letters in groupby(text, path_for):
        yield path, "".join(letters)


@cache
def path_for(character: str) -> Path:
    """Where no font has it, the first draws its sign for that."""
    return next((path for path in fonts() if has_glyph(path, character)), fonts()[0])


def has_glyph(path: Path, character: str) -> bool:
    font = font_of(path, 24)
    return bytes(font.getmask(character)) != bytes(font.getmask(NO_CHARACTER))
