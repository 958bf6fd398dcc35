"""From a body of A1111's to a request of ours, and sentences on what of it is not done."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from api.access.principals import Principal
from api.catalog import ModelEntry
from api.dialects.a1111.errors import refusal
from api.dialects.a1111.overrides import read_overrides
from api.dialects.a1111.samplers import read_sampler
from api.images.prompt_syntax.syntaxes import A1111
from api.images.spec import SIDE_STEP

LARGEST_DRAWN = 2**32 - 1
NAMES = {
    "guidance_scale": "cfg_scale",
    "scheduler": "sampler_name",
    "num_images": "batch_size",
    "model_id": "override_settings.sd_model_checkpoint",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "output_format": "override_settings.samples_format",
    "loras": "prompt",
    "variation": "subseed_strength",
    "variation.seed": "seed",
    "variation.strength": "subseed_strength",
    "hires": "enable_hr",
    "hires.scale": "hr_scale",
    "hires.steps": "hr_second_pass_steps",
    "hires.strength": "denoising_strength",
    "hires.upscaler": "hr_upscaler",
    "image": "init_images.0",
    "strength": "denoising_strength",
    "mask_invert": "inpainting_mask_invert",
    "mask_padding": "inpaint_full_res_padding",
    "inpaint_area": "inpaint_full_res",
    "fill": "inpainting_fill",
    "ip_adapter": "alwayson_scripts.ControlNet.args",
    "control": "alwayson_scripts.ControlNet.args",
}
"""Ours, and A1111's."""


@dataclass
class Translated:
    """A request of ours that is being put together."""

    body: Mapping[str, Any]
    principal: Principal
    entry: ModelEntry
    request: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=lambda: dict(NAMES))
    """Of its fields, for errors."""
    drawn: bool = False
    """Whether a value in it was drawn, which the body left open."""

    @property
    def size(self) -> tuple[int, int]:
        """Of the first pass."""
        width, height = (self.request.get(name) or self.entry.default_size for name in ("width", "height"))
        return width, height

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def put(self, **values: Any) -> None:
        self.request |= {name: value for name, value in values.items() if value is not None}

    def put_side(self, name: str, asked: int) -> None:
        """A1111 takes any number of pixels, too, and makes a multiple of 8."""
        kept = asked // SIDE_STEP * SIDE_STEP
        if kept != asked:
            self.warn(f"{name}: {asked} became {kept}, a multiple of {SIDE_STEP}.")
        self.put(**{name: kept})


def translate(body: Mapping[str, Any], principal: Principal) -> Translated:
    """What txt2img and img2img have in common."""
    overrides = read_overrides(principal, body["override_settings"])
    result = Translated(body, principal, overrides.entry, warnings=list(overrides.warnings))
    result.put(**overrides.request)
    result.put(
        prompt=body["prompt"],
        negative_prompt=body["negative_prompt"],
        prompt_syntax=A1111 if settings.USE_LOCAL_MODELS else None,
        steps=body["steps"],
        guidance_scale=body["cfg_scale"],
        num_images=body["batch_size"] * body["n_iter"],
        webhook=body["webhook"],
    )
    if body["n_iter"] > body["batch_size"]:
        result.names["num_images"] = "n_iter"
    for name in ("width", "height"):
        if body[name] is not None:
            result.put_side(name, body[name])
    put_sampler(result)
    put_seeds(result)
    warn_of_rest(result)
    return result


def put_sampler(result: Translated) -> None:
    name, sentence = read_sampler(
        result.body["sampler_name"] or result.body["sampler_index"], result.body["scheduler"], result.entry
    )
    if sentence:
        result.warn(sentence)
    result.put(scheduler=name)


def put_seeds(result: Translated) -> None:
    """Of a picture with a subseed `seed` is that of the picture that it is near to: here that is the variation's."""
    body, strength = result.body, result.body["subseed_strength"]
    seed, subseed = (None if body[name] < 0 else body[name] for name in ("seed", "subseed"))
    if strength <= 0:
        result.put(seed=seed)
        return
    result.drawn = seed is None
    near_to = secrets.randbelow(LARGEST_DRAWN) if seed is None else seed
    result.names["seed"] = "subseed"
    result.put(seed=subseed, variation={"seed": near_to, "strength": strength})


USUAL_ETA = {"euler_a": 1, "euler_a_trailing": 1, "dpm2_a": 1, "dpm2_a_karras": 1, "ddim": 0, "ddim_trailing": 0}
"""By scheduler; to others it says nothing."""
SD_UPSCALE = "sd upscale"
NOT_DONE = {
    "restore_faces": "faces are not restored here",
    "tiling": "pictures that tile are not made here",
    "disable_extra_networks": "adapters are used where the prompt names them",
    "refiner_checkpoint": "no second model refines the picture",
    "s_min_uncond": "every step uses the negative prompt",
    "s_churn": "a sampler adds no noise beyond its own",
}
"""Why what a field asks for has no effect."""


def has_sd_upscale(body: Mapping[str, Any]) -> bool:
    """It is a script of img2img."""
    return str(body["script_name"]).lower() == SD_UPSCALE and "init_images" in body


def warn_of_rest(result: Translated) -> None:
    body = result.body
    for name, why in NOT_DONE.items():
        if body[name]:
            result.warn(f"{name} has no effect: {why}.")
    if body["s_noise"] not in (None, 0, 1):
        result.warn("s_noise has no effect: a sampler's noise has its own scale.")
    if body["eta"] is not None and body["eta"] != USUAL_ETA.get(result.request.get("scheduler", ""), body["eta"]):
        result.warn("eta has no effect: an ancestral sampler has 1, and DDIM 0.")
    if body["seed_resize_from_w"] > 0 or body["seed_resize_from_h"] > 0:
        result.warn("seed_resize_from_w and seed_resize_from_h have no effect: the noise has the picture's own size.")
    if body["override_settings"] and not body["override_settings_restore_afterwards"]:
        result.warn("override_settings_restore_afterwards has no effect: POST /sdapi/v1/options keeps settings.")
    if body["script_name"] not in (None, "", "None") and not has_sd_upscale(body):
        detail = f"Script '{body['script_name'][:100]}' not found"
        if body["script_name"].lower() == "x/y/z plot":
            detail += ": POST /api/grids/ makes pictures over several values of fields."
        raise refusal("script_name", detail, "unknown_script")
