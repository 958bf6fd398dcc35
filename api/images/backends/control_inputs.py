"""The control maps of a request, brought to the size that is made. No torch."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from api.images.backends.frames import flatten
from api.images.backends.preprocessors.maps import MAPS
from api.images.backends.request import ImageRequest
from api.images.spec import CONTAIN, COVER, STRETCH, Img2ImgSpec

BROUGHT = {
    COVER: "scaled to cover them, and cropped at the centre",
    STRETCH: "stretched to them",
    CONTAIN: "scaled to fit into them, its edges repeated around",
}


def control_map(request: ImageRequest, number: int) -> Image.Image:
    """RGB, width × height: brought to that as the source picture is, and only then made a map."""
    picture = flatten(request.controls[number])
    if has_frame(request):
        seen = request.frame.show_beside(picture)
    else:
        seen = ImageOps.fit(picture, (request.spec.width, request.spec.height), Image.Resampling.LANCZOS)
    preprocessor = request.spec.control[number].preprocessor
    return Image.fromarray(MAPS[preprocessor](np.asarray(seen))) if preprocessor else seen


def notes_on_controls(request: ImageRequest) -> list[str]:
    """In sentences what of the control maps is not as it was sent."""
    return [
        f"control[{number}].image ({picture.width}×{picture.height}) has another shape than the pictures "
        f"({'×'.join(map(str, covered_size(request)))}): it was {BROUGHT[fit_of(request)]}."
        for number, picture in enumerate(request.controls)
        if is_cropped(request, picture)
    ]


def fit_of(request: ImageRequest) -> str:
    return request.spec.fit if isinstance(request.spec, Img2ImgSpec) else COVER


def is_cropped(request: ImageRequest, picture: Image.Image) -> bool:
    """By more than a pixel."""
    if has_frame(request) and request.frame.is_as_source(picture):
        return False
    width, height = covered_size(request)
    return abs(width * picture.height - height * picture.width) > max(picture.size)


def covered_size(request: ImageRequest) -> tuple[int, int]:
    return request.frame.canvas.size if has_frame(request) else (request.spec.width, request.spec.height)


def has_frame(request: ImageRequest) -> bool:
    return isinstance(request.spec, Img2ImgSpec) and request.image is not None
