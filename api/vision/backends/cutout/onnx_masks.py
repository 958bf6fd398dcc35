"""The mask of a network that finds the subject by itself.  [no Django]"""

from __future__ import annotations

import numpy as np
from PIL import Image

from api.loading.onnx import Array
from api.loading.segmenters import OnnxSegmenter


def find_mask(model: OnnxSegmenter, picture: Image.Image) -> Array:
    """(height, width) float32 of 0..1 at the model's size; the picture is squeezed into it, as these networks are trained."""
    squeezed = picture.resize((model.width, model.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return as_shares(model.run(np.asarray(squeezed, np.float32).transpose(2, 0, 1) / 255))


def as_shares(mask: Array) -> Array:
    """Some files end with the sigmoid, and some before it."""
    if mask.min() >= 0 and mask.max() <= 1:
        return mask
    return 1 / (1 + np.exp(-np.clip(mask, -60, 60)))
