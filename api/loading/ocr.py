"""PP-OCR in ONNX: a detector of lines and a recogniser, run by RapidOCR's own pre- and post-processing.  [torch; no Django]

    …det….onnx     picture in, map of text out
    …rec….onnx     lines of 48 pixels in, characters out; which ones stands in its metadata

RapidOCR's parts are used without its front: that keeps switches from one call to the next, resizes twice, and would fetch a model that
is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.onnx import OnnxSession, bytes_of, translate_allocation_errors
from api.loading.onnx_files import check_onnx_file

Picture = NDArray[np.uint8]
DETECTOR, RECOGNISER = "*det*.onnx", "*rec*.onnx"
LONGEST_SIDE = 4096
"""A safeguard: whoever calls `detect` has brought the picture to its size."""
DETECTION = {
    "limit_type": "max",
    "limit_side_len": LONGEST_SIDE,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "thresh": 0.3,
    "box_thresh": 0.5,
    "max_candidates": 1000,
    "unclip_ratio": 1.6,
    "use_dilation": True,
    "score_mode": "fast",
}
"""RapidOCR's own defaults for these models, apart from the limit."""
RECOGNITION = {"lang_type": "ch", "rec_batch_num": 1, "rec_img_shape": [3, 48, 320], "font_path": None}
"""One line at a time: on a processor a batch, padded to its longest line, took a third longer."""


class Config(dict[str, Any]):
    """Read as RapidOCR's classes do: by key, by attribute and by `get`."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class PpOcr:
    """What a lease gets."""

    def __init__(self, detector: Path, recogniser: Path) -> None:
        from rapidocr import EngineType
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer

        logging.getLogger("RapidOCR").setLevel(logging.WARNING)  # importing it has set INFO
        self.files = (detector, recogniser)
        detection, recognition = (OnnxSession(file).session for file in self.files)
        shared = {"engine_type": EngineType.ONNXRUNTIME}
        self.detector = TextDetector(Config(DETECTION, session=detection, **shared))
        self.recogniser = TextRecognizer(Config(RECOGNITION, session=recognition, **shared))

    @property
    def folder(self) -> Path:
        return self.files[1].parent

    @property
    def nbytes(self) -> int:
        return sum(bytes_of(file) for file in self.files)

    def detect(self, picture: Picture) -> list[NDArray[np.float32]]:
        """The four corners of each line in a picture (height, width, RGB), clockwise from the one at the top left."""
        with translate_allocation_errors():
            boxes = self.detector(np.ascontiguousarray(picture[:, :, ::-1])).boxes
        return [] if boxes is None else [np.asarray(box, np.float32) for box in boxes]

    def recognise(self, lines: Sequence[Picture]) -> list[tuple[str, float]]:
        """The text and the score of each line (height, width, RGB)."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        if not lines:
            return []
        with translate_allocation_errors():
            found = self.recogniser(TextRecInput(img=[line[:, :, ::-1] for line in lines]))
        return list(zip(found.txts or (), map(float, found.scores or ()), strict=True))


def make_builder() -> Builder:
    return Builder(build=build_ocr, estimate=estimate_bytes)


def build_ocr(entry: ModelEntry, folder: Path, device: Device) -> PpOcr:
    """On the processor, whatever the device. Raises DarkroomError."""
    detector, recogniser = files_of(entry, folder)
    for file in (detector, recogniser):
        check_onnx_file(file, entry.name)
    return PpOcr(detector, recogniser)


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    return sum(bytes_of(file) for file in files_of(entry, folder))


def files_of(entry: ModelEntry, folder: Path) -> tuple[Path, Path]:
    """The detector and the recogniser. Raises DarkroomError where one is missing or there are several."""
    found = [sorted(folder.glob(pattern)) for pattern in (DETECTOR, RECOGNISER)]
    if [len(files) for files in found] != [1, 1]:
        detail = (
            f"{entry.name} can't be loaded: its folder has to have one {DETECTOR} and one {RECOGNISER}, as PP-OCR's are named."
        )
        raise DarkroomError("broken_model", 422, detail)
    return found[0][0], found[1][0]
