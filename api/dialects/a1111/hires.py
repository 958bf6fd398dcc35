"""txt2img's own fields: the second pass."""

import math

from rest_framework.exceptions import ValidationError

from api.dialects.a1111.errors import refusal
from api.dialects.a1111.overrides import first_of
from api.dialects.a1111.translation import Translated
from api.dialects.a1111.upscalers import find_upscaler
from api.images.enlarging_fields import PICTURE_UPSCALER
from api.images.hires import LATENT, SIDE_STEP, enlarged_size
from api.images.scheduler_presets import most_steps

USUAL_STRENGTH = 0.75
NONE = "none"
SAME = ("", "use same sampler", "use same scheduler", "use same checkpoint")
OF_THE_FIRST = ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt")
SAME_AS = {"hr_sampler_name": "sampler_name", "hr_scheduler": "scheduler", "hr_prompt": "prompt"} | {
    "hr_negative_prompt": "negative_prompt"
}


def put_hires(result: Translated) -> None:
    if not result.body["enable_hr"]:
        return
    scale = read_scale(result)
    steps, strength = read_steps(result)
    upscaler = read_upscaler(result, result.body["hr_upscaler"])
    result.put(hires={"scale": scale, "steps": steps, "strength": strength, "upscaler": upscaler})
    for name in OF_THE_FIRST:
        asked = result.body[name]
        if asked and asked.lower() not in SAME and asked != result.body.get(SAME_AS.get(name, "")):
            result.warn(f"{name} has no effect: the second pass has what the first has.")


def read_scale(result: Translated) -> float:
    """From a factor, or from the size to come to. Older clients name the first pass's size, and the last as `width` and `height`."""
    body = result.body
    target, field = (body["hr_resize_x"], body["hr_resize_y"]), "hr_resize_x"
    if body["firstphase_width"] > 0 and body["firstphase_height"] > 0:
        target, field = result.size, "firstphase_width"
        result.names |= {"width": "firstphase_width", "height": "firstphase_height"}
        result.put_side("width", body["firstphase_width"])
        result.put_side("height", body["firstphase_height"])
    if not any(target):
        return float(body["hr_scale"])
    result.names["hires.scale"] = field
    scale = max(side / first for side, first in zip(target, result.size, strict=True))
    wanted = tuple((side or round(first * scale)) // SIDE_STEP for side, first in zip(target, result.size, strict=True))
    made = enlarged_size(*result.size, scale)
    if any(abs(side // SIDE_STEP - other) > 1 for side, other in zip(made, wanted, strict=True)):
        width, height = result.size
        detail = f"The second pass has the shape of the first, {width} × {height}: {made[0]} × {made[1]} is the nearest."
        raise refusal(field, detail, "other_shape")
    return scale


def read_steps(result: Translated) -> tuple[int, float]:
    """A1111's number of steps is that of those that are run, whatever the strength; here it is that of a whole schedule."""
    body, most = result.body, most_steps(result.request.get("scheduler") or result.entry.scheduler or None)
    strength = USUAL_STRENGTH if body["denoising_strength"] is None else body["denoising_strength"]
    least = 1.01 / most
    if strength < least:
        result.warn(f"denoising_strength: {strength:g} became {least:.3g}, as the second pass takes a step at least.")
        strength = least
    wanted = body["hr_second_pass_steps"] or body["steps"] or result.entry.default_steps
    steps = math.ceil(round(wanted / strength, 6))
    if steps > most:
        steps = most
        result.warn(f"The second pass has {int(steps * strength)} steps instead of {wanted}: a schedule has {most} at most.")
    return steps, strength


def read_upscaler(result: Translated, name: str | None) -> str:
    folded = (name or LATENT).strip().lower()
    if folded.startswith(LATENT):
        if folded != LATENT:
            result.warn(f"hr_upscaler: '{name}' was done as 'Latent'.")
        return LATENT
    if folded == NONE:
        result.warn(f"hr_upscaler: '{name}' was done as 'Lanczos'.")
        return PICTURE_UPSCALER
    try:
        return find_upscaler(str(name))
    except ValidationError as error:
        raise refusal("hr_upscaler", first_of(error), "unknown_upscaler") from None
