"""The control maps of a request, brought to the size that is made. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from api.images.backends.frames import flatten
from api.images.backends.preprocessors.maps import MAPS
from api.images.backends.request import ImageRequest
from api.images.spec import Img2ImgSpec


def control_map(request: ImageRequest, number: int) -> Image.Image:
    """RGB, width × height: scaled to cover and cropped as the source picture is, and only then made a map."""
    picture = flatten(request.controls[number])
    if has_frame(request):
        seen = request.frame.show_beside(picture)
    else:
        seen = ImageOps.fit(picture, (request.spec.width, request.spec.height), Image.Resampling.LANCZOS)
    preprocessor = request.spec.control[number].preprocessor
    return Image.fromarray(MAPS[preprocessor](np.asarray(seen))) if preprocessor else seen


def notes_on_controls(request: ImageRequest) -> list[str]:
    """In sentences what of the control maps is not as it was sent."""
    size = (request.spec.width, request.spec.height)
    width, height = request.frame.canvas.size if request.controls and has_frame(request) else size
    return [
        f"control[{number}].image ({picture.width}×{picture.height}) has another shape than the pictures ({width}×{height}): "
        "it was scaled to cover them, and cropped at the centre."
        for number, picture in enumerate(request.controls)
        if abs(width * picture.height - height * picture.width) > max(picture.size)  # more than a pixel
    ]


def has_frame(request: ImageRequest) -> bool:
    return isinstance(request.spec, Img2ImgSpec) and request.image is not None
