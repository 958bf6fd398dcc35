from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from api.images.metadata import encode_image, infotext, parse_infotext, read_parameters
from tests.backends.recorder import painting

FORMATS = ("png", "jpeg", "webp")
PARAMETERS: dict[str, Any] = {
    "prompt": "озеро, 湖 at sunset: (red)++ 🌅",
    "negative_prompt": "blurry,\nlow quality",
    "steps": 20,
    "guidance_scale": 5.5,
    "seed": 42,
    "scheduler": "dpmpp_2m_karras",
    "model_id": "stable-diffusion-v1-5",
    "clip_skip": 1,
    "loras": [],
    "strength": 0.6,
}


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_carries_its_parameters_in_any_script(output_format: str) -> None:
    assert read_parameters(encode_image(painting(), output_format, PARAMETERS)) == PARAMETERS


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_without_parameters_carries_none(output_format: str) -> None:
    data = encode_image(painting(), output_format, None)

    assert read_parameters(data) is None
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif()


def test_a_png_keeps_every_pixel() -> None:
    with Image.open(io.BytesIO(encode_image(painting(), "png", PARAMETERS))) as image:
        assert image.tobytes() == painting().tobytes()


def test_the_text_has_automatic1111_s_form() -> None:
    text = infotext({**PARAMETERS, "prompt": "a lake", "negative_prompt": "blurry"}, 512, 768)

    assert text == (
        "a lake\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 5.5, Seed: 42, Size: 512x768, Model: stable-diffusion-v1-5, "
        "Denoising strength: 0.6, Clip skip: 2, Version: Darkroom"
    )


def test_adapters_stand_in_the_prompt_as_automatic1111_writes_them() -> None:
    assert infotext({"prompt": "a lake", "loras": [{"id": "ink", "weight": 0.5}]}, 8, 8).startswith("a lake <lora:ink:0.5>\n")


def test_automatic1111_s_own_text_is_read() -> None:
    theirs = (
        "a lake\nat sunset\nNegative prompt: blurry\nSteps: 25, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x640, "
        'Model hash: 1234, Model: dreamshaper, Clip skip: 2, Lora hashes: "ink: 12, b: 3", Version: v1.6.0'
    )

    assert parse_infotext(theirs) == {
        "prompt": "a lake\nat sunset",
        "negative_prompt": "blurry",
        "steps": 25,
        "guidance_scale": 7.0,
        "seed": 5,
        "model_id": "dreamshaper",
        "width": 512,
        "height": 640,
        "clip_skip": 1,
        "scheduler": "euler_a",
    }


@pytest.mark.parametrize("data", [b"", b"not a picture", encode_image(Image.new("RGB", (8, 8)), "png", {})[:60]])
def test_what_is_no_picture_has_no_parameters(data: bytes) -> None:
    assert read_parameters(data) is None


def test_text_that_is_not_of_this_form_is_left_alone() -> None:
    assert parse_infotext("a holiday picture") is None
