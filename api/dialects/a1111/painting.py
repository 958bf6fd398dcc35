"""img2img's own fields: the picture to begin with, its mask, and how that is painted."""

from api.dialects.a1111.errors import refusal
from api.dialects.a1111.translation import Translated
from api.images.spec import AROUND_MASK, BLUR, EMPTY, NOISE, ORIGINAL

FILLS = (BLUR, ORIGINAL, NOISE, EMPTY)
"""By A1111's number."""
USUAL_STRENGTH = 0.75


def put_painting(result: Translated) -> None:
    body = result.body
    if len(body["init_images"]) > 1:
        raise refusal("init_images.1", "One picture can be worked on in a request.", "too_many")
    strength = USUAL_STRENGTH if body["denoising_strength"] is None else body["denoising_strength"]
    result.put(image=body["init_images"][0], strength=strength)
    if body["mask"]:
        put_mask(result)


def put_mask(result: Translated) -> None:
    body = result.body
    result.put(
        mask=body["mask"],
        mask_invert=bool(body["inpainting_mask_invert"]),
        mask_blur=float(max(body["mask_blur_x"], body["mask_blur_y"]) if body["mask_blur"] is None else body["mask_blur"]),
        fill=FILLS[body["inpainting_fill"]],
    )
    if body["inpaint_full_res"]:
        result.put(inpaint_area=AROUND_MASK, mask_padding=body["inpaint_full_res_padding"])
