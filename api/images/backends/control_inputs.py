"""The control maps of a request, brought to the size that is made. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from api.images.backends.inputs import flatten
from api.images.backends.preprocessors.maps import MAPS
from api.images.backends.request import ImageRequest


def control_map(request: ImageRequest, number: int) -> Image.Image:
    """RGB, width × height: scaled to cover and cropped at the centre, as a source picture is, and only then made a map."""
    size = (request.spec.width, request.spec.height)
    picture = ImageOps.fit(flatten(request.controls[number]), size, Image.Resampling.LANCZOS)
    preprocessor = request.spec.control[number].preprocessor
    return Image.fromarray(MAPS[preprocessor](np.asarray(picture))) if preprocessor else picture


def notes_on_controls(request: ImageRequest) -> list[str]:
    """In sentences what of the control maps is not as it was sent."""
    width, height = request.spec.width, request.spec.height
    return [
        f"control[{number}].image ({picture.width}×{picture.height}) has another shape than the pictures ({width}×{height}): "
        "it was scaled to cover them, and cropped at the centre."
        for number, picture in enumerate(request.controls)
        if abs(width * picture.height - height * picture.width) > max(picture.size)  # more than a pixel
    ]
