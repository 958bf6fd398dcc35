"""The text of a picture: lines found by PP-OCR, each straightened, and read by the engine that has the languages' letters.  [torch]"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from api.loading.ocr import PpOcr
from api.vision.backends.ocr.margins import without_margins
from api.vision.backends.ocr.straighten import NOISY, Corners, Picture, as_dark_on_light, narrow, noise_of, straighten, turns_of
from api.vision.backends.ocr.tesseract import read_with_tesseract
from api.vision.ocr.languages import PP_OCR, Engine, Language
from api.vision.ocr.lines import PictureText, TextLine, clean_text, in_reading_order

SHORTER, LONGER = 736, 2048
"""A smaller picture is enlarged until its shorter side has this many pixels, unless the longer one then has more than it may."""
LEAST_SIDE = 64
"""A narrower one gets a border."""

UNSURE, CLEARLY = 0.8, 0.1
"""Text that is read with a lower score may stand upside down, and does where it is read the other way round so much more surely."""


def read_picture(model: PpOcr, picture: Image.Image, languages: Sequence[Language], engine: Engine) -> PictureText:
    """Raises DarkroomError."""
    pixels = np.asarray(picture.convert("RGB"))
    found, scale = find_lines(model, pixels)
    lines = read_each(model, pixels, found, languages, engine)
    if lines and sureness(lines) < UNSURE:
        upside_down = read_each(model, pixels, [np.roll(corners, 2, axis=0) for corners in found], languages, engine)
        if upside_down and sureness(upside_down) > sureness(lines) + CLEARLY:
            lines = upside_down
    return PictureText(in_reading_order(lines), scale)


def read_each(
    model: PpOcr, pixels: Picture, found: Sequence[Corners], languages: Sequence[Language], engine: Engine
) -> list[TextLine]:
    tried = [(place, turned) for place, corners in enumerate(found) for turned in turns_of(corners)]
    best: dict[int, TextLine] = {}
    read = read_lines(model, pixels, [corners for _, corners in tried], languages, engine)
    for (place, corners), (text, score) in zip(tried, read, strict=True):
        line = make_line(text, score, corners, engine)
        if line.text and (place not in best or line.score > best[place].score):
            best[place] = line
    return list(best.values())


def sureness(lines: Sequence[TextLine]) -> float:
    """Of all together: by the score of each, as long as it is."""
    return sum(line.score * len(line.text) for line in lines) / sum(len(line.text) for line in lines)


def make_line(text: str, score: float, corners: Corners, engine: Engine) -> TextLine:
    polygon = tuple((float(x), float(y)) for x, y in corners)
    return TextLine(clean_text(text), min(1.0, max(0.0, score)), polygon, engine.name)


def find_lines(model: PpOcr, pixels: Picture) -> tuple[list[Corners], float]:
    """The corners of each line in pixels of the picture, and the scale at which they were looked for."""
    height, width = pixels.shape[:2]
    scale = min(max(1.0, SHORTER / min(width, height)), LONGER / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sized = (
        pixels
        if size == (width, height)
        else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )
    rows, columns = without_margins(sized)  # type: ignore[arg-type]
    area = sized[rows, columns]
    if not area.size:
        return [], scale
    below, right = (max(0, LEAST_SIDE - side) for side in area.shape[:2])
    bordered = cv2.copyMakeBorder(area, 0, below, 0, right, cv2.BORDER_REPLICATE)
    factors = np.array([width / size[0], height / size[1]], np.float32)
    shift, limits = np.array([columns.start, rows.start], np.float32), np.array([width, height], np.float32)
    found = model.detect(bordered)  # type: ignore[arg-type]
    return [np.clip((corners + shift) * factors, 0, limits) for corners in found], scale


def read_lines(
    model: PpOcr, pixels: Picture, found: Sequence[Corners], languages: Sequence[Language], engine: Engine
) -> list[tuple[str, float]]:
    lines = [straighten(pixels, corners) for corners in found]
    if engine.name == PP_OCR:
        return model.recognise([narrow(line) for line in lines])
    noisy = noise_of(pixels) > NOISY
    prepared = [as_dark_on_light(line, noisy=noisy) for line in lines]
    return read_with_tesseract(prepared, [language.tesseract for language in languages])
