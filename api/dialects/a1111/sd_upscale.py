"""A1111's script "SD upscale" (`script_name`): img2img of the enlarged picture. Here the whole picture is worked on at once."""

from api.dialects.a1111.errors import BAD_PICTURE, refusal
from api.dialects.a1111.translation import Translated, has_sd_upscale
from api.dialects.a1111.upscalers import NONE
from api.files.errors import InvalidImage
from api.files.services import resolve_image
from api.images.spec import STRETCH
from api.images.upscaling.spec import LARGEST_SCALE

FIELD = "script_args"
OVERLAP, UPSCALER, SCALE = 1, 2, 3
"""Places of its arguments; the first is a line of its page."""
BY_SIZE = ("", NONE, "Lanczos", None, 0, 1)
"""Upscalers that do what img2img does with a picture of another size."""
USUAL_SCALE = 2.0


def put_sd_upscale(result: Translated) -> None:
    """The size is that of the picture, enlarged. Raises RequestRefused."""
    if not has_sd_upscale(result.body):
        return
    arguments = [*result.body[FIELD], *[None] * 4]
    if arguments[UPSCALER] not in BY_SIZE:
        raise refusal(f"{FIELD}.{UPSCALER}", "Only Lanczos enlarges a picture before it is worked on.", "unsupported")
    scale = USUAL_SCALE if arguments[SCALE] is None else arguments[SCALE]
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= LARGEST_SCALE:
        raise refusal(f"{FIELD}.{SCALE}", f"Must be a number from 1 to {LARGEST_SCALE}.")
    principal = result.principal
    try:
        file = resolve_image(owner_key=principal.owner_key, value=result.body["init_images"][0], see_all=principal.is_staff)
    except InvalidImage as error:
        raise refusal("init_images.0", error.detail, BAD_PICTURE) from None
    for name, side in (("width", file.width), ("height", file.height)):
        result.put_side(name, int(side * scale))
        result.names[name] = f"{FIELD}.{SCALE}"
    result.put(image=str(file.pk), fit=STRETCH)
    result.warn("script_name: the whole picture was worked on at once, where A1111 does it in tiles.")
