"""The bodies of txt2img and img2img: the fields that A1111 has, read as leniently as it reads them, and `webhook`, which is ours. Others
are passed over, with a sentence where one is called much like one of these.

A field that is null, [] or {} (which some languages make of an empty object), or isn't sent, has A1111's default. Where that is None the
model decides.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from api.dialects.a1111.tasks import LONGEST_NAME
from api.images.seeds import LARGEST_SEED
from api.strict import FiniteFloatField

LONGEST = 20_000
"""Characters of a text here; what a prompt may have, the request of ours says."""
MOST_ITEMS = 100
LARGEST_WHOLE = LARGEST_SEED
"""No field has a use for more, and a float holds it exactly: sizes are divided."""


class WholeNumberField(serializers.IntegerField):
    """Clients send true and false, too."""

    def to_internal_value(self, data: Any) -> int:
        return super().to_internal_value(int(data) if isinstance(data, bool) else data)


class PictureField(serializers.Field[str, Any, str, Any]):
    """A picture as text, which api/files/inputs.py reads. Of a CharField every character is looked at (as the JSON parser has done by
    then), which takes longer than all the rest of a request.
    """

    default_error_messages = {"invalid": "Not a valid string."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data

    def to_representation(self, value: str) -> str:
        return value


def text(default: str | None = "") -> Any:
    return serializers.CharField(default=default, allow_blank=True, max_length=LONGEST, trim_whitespace=False)


def whole(default: int | None = None, low: int = -LARGEST_WHOLE, high: int = LARGEST_WHOLE) -> Any:
    return WholeNumberField(default=default, min_value=low, max_value=high)


def number(default: float | None = None, low: float | None = None, high: float | None = None) -> Any:
    return FiniteFloatField(default=default, min_value=low, max_value=high)


def switch(default: bool = False) -> Any:
    return serializers.BooleanField(default=default)


def texts() -> Any:
    return serializers.ListField(
        child=serializers.CharField(max_length=LONGEST, allow_blank=True), default=list, max_length=MOST_ITEMS
    )


def values() -> Any:
    return serializers.DictField(default=dict)


def any_value() -> Any:
    """For the capability's serializer to read."""
    return serializers.JSONField(default=None)


class LenientFields(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            data = {name: value for name, value in data.items() if value not in (None, [], {})}
        return super().to_internal_value(data)


class GenerationFields(LenientFields):
    """What txt2img and img2img have in common."""

    prompt = text()
    negative_prompt = text()
    styles = texts()
    seed = whole(-1, low=-1)
    subseed = whole(-1, low=-1)
    subseed_strength = number(0.0)
    seed_resize_from_h = whole(-1)
    seed_resize_from_w = whole(-1)
    sampler_name = text(None)
    sampler_index = text(None)
    scheduler = text(None)
    batch_size = whole(1, low=1)
    n_iter = whole(1, low=1)
    steps = whole(low=1)
    cfg_scale = number()
    width = whole()
    height = whole()
    restore_faces = switch()
    tiling = switch()
    do_not_save_samples = switch()
    do_not_save_grid = switch()
    eta = number()
    denoising_strength = number(low=0, high=1)
    s_min_uncond = number()
    s_churn = number()
    s_tmax = number()
    s_tmin = number()
    s_noise = number()
    override_settings = values()
    override_settings_restore_afterwards = switch(True)
    refiner_checkpoint = text(None)
    refiner_switch_at = number()
    disable_extra_networks = switch()
    comments = values()
    script_name = text(None)
    script_args = serializers.ListField(default=list)
    alwayson_scripts = values()
    send_images = switch(True)
    save_images = switch()
    force_task_id = serializers.CharField(default=None, allow_blank=True, max_length=LONGEST_NAME)
    infotext = text(None)
    webhook = any_value()


class Txt2ImgFields(GenerationFields):
    enable_hr = switch()
    firstphase_width = whole(0)
    firstphase_height = whole(0)
    hr_scale = number(2.0)
    hr_upscaler = text(None)
    hr_second_pass_steps = whole(0, low=0)
    hr_resize_x = whole(0, low=0)
    hr_resize_y = whole(0, low=0)
    hr_checkpoint_name = text(None)
    hr_sampler_name = text(None)
    hr_scheduler = text(None)
    hr_prompt = text()
    hr_negative_prompt = text()


class Img2ImgFields(GenerationFields):
    init_images = serializers.ListField(child=PictureField(), default=list, max_length=MOST_ITEMS)
    resize_mode = whole(0, low=0, high=3)
    image_cfg_scale = number()
    mask = PictureField(default=None)
    mask_blur_x = whole(4, low=0)
    mask_blur_y = whole(4, low=0)
    mask_blur = whole(low=0)
    mask_round = switch(True)
    inpainting_fill = whole(0, low=0, high=3)
    inpaint_full_res = switch(True)
    inpaint_full_res_padding = whole(0, low=0)
    inpainting_mask_invert = whole(0, low=0, high=1)
    initial_noise_multiplier = number()
    latent_mask = PictureField(default=None)
    include_init_images = switch()
