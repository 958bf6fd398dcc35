"""img2img's own fields: the picture to begin with, how it comes to the size, its mask, and how that is painted."""

from django.conf import settings

from api.dialects.a1111.errors import NO_PICTURE, refusal
from api.dialects.a1111.sd_upscale import put_sd_upscale
from api.dialects.a1111.translation import Translated
from api.images.spec import AROUND_MASK, BLUR, CONTAIN, COVER, EMPTY, NOISE, ORIGINAL, STRETCH

FITS = (STRETCH, COVER, CONTAIN, STRETCH)
FILLS = (BLUR, ORIGINAL, NOISE, EMPTY)
"""By A1111's numbers."""
LATENT_RESIZE = 3
USUAL_STRENGTH = 0.75
USUAL_IMAGE_CFG = (None, 0, 1, 1.5)
USUAL_MASK_BLUR = 4


def put_painting(result: Translated) -> None:
    body = result.body
    if not body["init_images"] or not body["init_images"][0]:
        raise refusal("init_images", "There is no picture to begin with.", NO_PICTURE)
    if len(body["init_images"]) > 1:
        raise refusal("init_images.1", "One picture can be worked on in a request.", "too_many")
    strength = USUAL_STRENGTH if body["denoising_strength"] is None else body["denoising_strength"]
    result.put(image=body["init_images"][0], strength=strength)
    if body["mask"]:
        put_mask(result)
    if not (body["mask"] and body["inpaint_full_res"]):
        put_fit(result)
    put_sd_upscale(result)
    if body["latent_mask"]:
        result.warn("latent_mask has no effect: send it as mask.")
    if body["initial_noise_multiplier"] not in (None, 1):
        result.warn("initial_noise_multiplier has no effect: the noise has its own scale.")
    if body["image_cfg_scale"] not in USUAL_IMAGE_CFG:
        result.warn("image_cfg_scale has no effect: no model here is guided by a picture.")


def put_fit(result: Translated) -> None:
    if not settings.USE_LOCAL_MODELS:
        if result.body["resize_mode"]:
            result.warn("resize_mode has no effect: a hosted model is sent the picture as it is.")
        return
    result.put(fit=FITS[result.body["resize_mode"]])
    if result.body["resize_mode"] == LATENT_RESIZE:
        result.warn("resize_mode: 3 (latent upscale) was done as 0: the picture itself was resized.")


def put_mask(result: Translated) -> None:
    body = result.body
    result.put(
        mask=body["mask"],
        mask_invert=bool(body["inpainting_mask_invert"]),
        mask_blur=float(read_blur(result)),
        fill=FILLS[body["inpainting_fill"]],
    )
    if body["inpaint_full_res"]:
        result.put(inpaint_area=AROUND_MASK, mask_padding=body["inpaint_full_res_padding"])


def read_blur(result: Translated) -> int:
    body = result.body
    if body["mask_blur"] is not None:
        return int(body["mask_blur"])
    across, down = (USUAL_MASK_BLUR if body[name] is None else body[name] for name in ("mask_blur_x", "mask_blur_y"))
    if across != down:
        result.warn(f"mask_blur_x and mask_blur_y: a mask is blurred alike in both directions, by {max(across, down)}.")
    return int(max(across, down))
