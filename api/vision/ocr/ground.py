"""What a transparent picture is laid on before its text is read. No Django, no torch."""

import numpy as np
from PIL import Image

MOSTLY_THERE = 0.5
"""Where more of a picture is opaque, what is read stands on a ground of its own."""
LIGHT = 128


def lay_on_ground(picture: Image.Image) -> Image.Image:
    """RGB: on white; on black where little else than something light is there, which nobody could read on white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    ground = Image.new("RGB", rgba.size, "black" if is_light_alone(rgba) else "white")
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return ground


def is_light_alone(picture: Image.Image) -> bool:
    weights = np.asarray(picture.getchannel("A"), np.float64) / 255
    total = float(weights.sum())
    if not 0 < total < MOSTLY_THERE * weights.size:
        return False
    return float((np.asarray(picture.convert("RGB").convert("L")) * weights).sum()) / total >= LIGHT
