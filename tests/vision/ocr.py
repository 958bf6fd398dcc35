"""What the tests of OCR share: the shipped models, pictures with one line, and whether Tesseract is here (CI has to have it)."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from api.catalog import load_catalog
from api.runtime.labels import FONTS, font_of

HAS_TESSERACT = shutil.which("tesseract") is not None
needs_tesseract = pytest.mark.skipif(not HAS_TESSERACT and os.environ.get("CI") != "true", reason="Tesseract is not installed")
PP_OCR = load_catalog().get("pp-ocr").path
assert isinstance(PP_OCR, Path)
RECOGNISER = next(PP_OCR.glob("*rec*.onnx"))


def draw_line(text: str, size: tuple[int, int] = (420, 90), *, at: tuple[int, int] = (20, 25), height: int = 32) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text(at, text, font=font_of(FONTS[0], height), fill="black")
    return image
