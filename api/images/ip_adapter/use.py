"""One image prompt of a request for pictures."""

from __future__ import annotations

from dataclasses import dataclass

from api.catalog import LONGEST_NAME
from api.specs import InputImage, param

MOST_IMAGE_PROMPTS, LARGEST_IMAGE_WEIGHT = 4, 2


@dataclass(frozen=True, kw_only=True)
class ImagePromptUse:
    """A picture that is read as a prompt is, and the IP-Adapter that reads it."""

    image: InputImage = param(
        help="base64, a data URL, a multipart file (`ip_adapter_image_0` …), or the id of an image here. The square in its middle is read."
    )
    weight: float = param(default=1.0, minimum=0, maximum=LARGEST_IMAGE_WEIGHT)
    model_id: str = param(
        decided=True, max_length=LONGEST_NAME, help="The IP-Adapter; default: the first that there is for this model."
    )
