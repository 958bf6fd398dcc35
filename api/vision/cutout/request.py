"""What a segmentation model is asked. No Django, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from api.vision.cutout.spec import CutoutSpec


@dataclass(frozen=True)
class CutoutRequest:
    """One picture (RGB), and what of it is the subject."""

    picture: Image.Image
    spec: CutoutSpec
