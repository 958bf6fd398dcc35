"""txt2img's own fields: the second pass."""

from api.dialects.a1111.translation import Translated
from api.images.hires import LATENT

USUAL_STRENGTH = 0.75


def put_hires(result: Translated) -> None:
    body = result.body
    if not body["enable_hr"]:
        return
    strength = USUAL_STRENGTH if body["denoising_strength"] is None else body["denoising_strength"]
    result.put(hires={"scale": body["hr_scale"], "strength": strength, "upscaler": LATENT})
