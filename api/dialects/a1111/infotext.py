"""The field `infotext`: a picture's parameters as text, which stand for the fields that the body doesn't have."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from api.dialects.a1111.checkpoints import find_checkpoint
from api.dialects.a1111.option_table import CHECKPOINT, CLIP_SKIP
from api.images.png_info.a1111 import NEGATIVE, split_infotext
from api.json_types import JsonObject

FIELD, OVERRIDES = "infotext", "override_settings"
LONGEST = 20_000
NAMES = {
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Denoising strength": "denoising_strength",
    "Hires upscale": "hr_scale",
    "Hires steps": "hr_second_pass_steps",
    "Hires upscaler": "hr_upscaler",
    "Mask blur": "mask_blur",
}
"""Settings of the text, and the fields that they stand for."""
OF_THE_MODEL = ("Model hash", "Model")


def fill_from_infotext(body: Any) -> Any:
    """A body that is no object, or whose text is none, stays what it is, to be refused."""
    text = body.get(FIELD) if isinstance(body, Mapping) else None
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        return body
    parts = split_infotext(text)
    prompt, negative, pairs = parts if parts else (*read_words(text), {})
    values: JsonObject = {"prompt": prompt, "negative_prompt": negative}
    values |= {field: pairs[name] for name, field in NAMES.items() if name in pairs}
    width, by, height = pairs.get("Size", "").partition("x")
    if by:
        values |= {"width": width, "height": height}
    if "Hires upscale" in pairs:
        values["enable_hr"] = True
    sent = {name: value for name, value in body.items() if value is not None}
    return {**values, **sent, OVERRIDES: with_settings(pairs, sent.get(OVERRIDES, {}))}


def read_words(text: str) -> tuple[str, str]:
    prompt, _, negative = text.partition(NEGATIVE)
    return prompt.strip(), negative.strip()


def with_settings(pairs: Mapping[str, str], sent: Any) -> Any:
    """A model that isn't here is left to the options, as A1111 does."""
    if not isinstance(sent, Mapping):
        return sent
    values: JsonObject = {}
    if pairs.get("Clip skip", "").isdecimal():
        values[CLIP_SKIP] = int(pairs["Clip skip"][:3])
    for name in OF_THE_MODEL:
        try:
            values[CHECKPOINT] = find_checkpoint(pairs[name]).id
            break
        except (KeyError, ValidationError):
            continue
    return {**values, **sent}
