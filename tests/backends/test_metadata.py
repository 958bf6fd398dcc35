from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from api.files.formats import FORMAT_NAMES
from api.images.metadata import encode_image, infotext
from api.images.png_info.a1111 import read_infotext
from tests.backends.recorder import painting
from tests.parameters import read_parameters

FORMATS = FORMAT_NAMES
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


def encode(output_format: str, parameters: dict[str, Any] | None, warnings: list[str] | None = None) -> bytes:
    """A file; it must come without a warning where no list is given for them."""
    told: list[str] = [] if warnings is None else warnings
    data = encode_image(painting(), output_format, parameters, told.append)
    assert warnings is not None or not told
    return data


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_carries_its_parameters_in_any_script(output_format: str) -> None:
    assert read_parameters(encode(output_format, PARAMETERS)) == PARAMETERS


LARGEST: dict[str, Any] = {
    **PARAMETERS,
    "prompt": "🌅" * 2000,
    "negative_prompt": "🌊" * 2000,
    "tags": ["🏷" * 50 for _ in range(20)],
    "loras": [{"id": "x" * 200, "weight": 1.0} for _ in range(8)],
}
"""The longest that a request may say."""


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_longest_request_fits_a_file_in_full(output_format: str) -> None:
    assert read_parameters(encode(output_format, LARGEST)) == LARGEST


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_png_and_webp_hold_more_than_a_request_can_say(output_format: str) -> None:
    long = {**PARAMETERS, "prompt": "🌅" * 100_000}

    assert read_parameters(encode(output_format, long)) == long


@pytest.mark.parametrize("length", [12_000, 100_000, 1_000_000])
def test_what_a_jpeg_has_no_room_for_is_shortened_and_told(length: int) -> None:
    warnings: list[str] = []
    long = {**PARAMETERS, "prompt": "🌅" * length, "extra": [{"words": "x" * length}]}

    found = read_parameters(encode("jpeg", long, warnings))

    assert found is not None
    assert found["prompt"] == "🌅" * 999 + "…"
    assert {name: found[name] for name in ("seed", "steps", "scheduler", "shortened")} == {
        "seed": 42, "steps": 20, "scheduler": "dpmpp_2m_karras", "shortened": True,
    }  # fmt: skip
    assert len(warnings) == 1
    assert "shortened" in warnings[0]


def test_a_jpeg_comes_without_parameters_where_even_their_shortest_form_is_too_long() -> None:
    warnings: list[str] = []

    data = encode("jpeg", {**PARAMETERS, "scores": dict.fromkeys(map(str, range(20_000)), 0.5)}, warnings)

    assert read_parameters(data) is None
    assert len(warnings) == 1


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_without_parameters_carries_none(output_format: str) -> None:
    data = encode(output_format, None)

    assert read_parameters(data) is None
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif()


def test_a_png_keeps_every_pixel() -> None:
    with Image.open(io.BytesIO(encode("png", PARAMETERS))) as image:
        assert image.tobytes() == painting().tobytes()


def test_the_text_has_automatic1111_s_form() -> None:
    text = infotext({**PARAMETERS, "prompt": "a lake", "negative_prompt": "blurry"}, 512, 768)

    assert text == (
        "a lake\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 42, Size: 512x768, Model: stable-diffusion-v1-5, "
        "Denoising strength: 0.6, Clip skip: 2, Version: Darkroom"
    )


def test_adapters_stand_in_the_prompt_as_automatic1111_writes_them() -> None:
    assert infotext({"prompt": "a lake", "loras": [{"id": "ink", "weight": 0.5}]}, 8, 8).startswith("a lake <lora:ink:0.5>\n")


@pytest.mark.parametrize(
    ("parts", "tag"),
    [({"unet": 1.0}, "0.5:1"), ({"text": 0.0}, "0:0.5"), ({"text": 0.2, "unet": 1.0}, "0.2:1"), ({"text": 0.5}, "0.5")],
)
def test_strengths_of_the_parts_are_in_automatic1111_s_order(parts: dict[str, float], tag: str) -> None:
    written = infotext({"prompt": "a lake", "loras": [{"id": "ink", "weight": 0.5, **parts}]}, 8, 8)

    assert written.startswith(f"a lake <lora:ink:{tag}>\n")


def test_automatic1111_s_own_text_is_read() -> None:
    theirs = (
        "a lake\nat sunset\nNegative prompt: blurry\nSteps: 25, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x640, "
        'Model hash: 1234, Model: dreamshaper, Clip skip: 2, Lora hashes: "ink: 12, b: 3", Version: v1.6.0'
    )

    found = read_infotext(theirs)
    assert found is not None
    assert (found.prompt, found.negative_prompt, found.sampler) == ("a lake\nat sunset", "blurry", "Euler a")
    assert found.models == ["dreamshaper", "1234"]
    assert found.values == {
        "steps": "25", "guidance_scale": "7", "seed": "5", "width": "512", "height": "640", "clip_skip": 1,
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"not a picture", encode("png", {})[:60]])
def test_what_is_no_picture_has_no_parameters(data: bytes) -> None:
    assert read_parameters(data) is None


def test_text_that_is_not_of_this_form_is_left_alone() -> None:
    assert read_infotext("a holiday picture") is None


VARIED = {"prompt": "a", "seed": 5, "variation": {"seed": 3, "strength": 0.25, "earlier": []}}
PAINTED = {"prompt": "a", "seed": 5, "mask_blur": 4.0, "fill": "noise", "inpaint_area": "mask", "mask_padding": 32}


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (VARIED, "Seed: 3, Variation seed: 5, Variation seed strength: 0.25, Size: 64x64, Version: Darkroom"),
        (
            {**VARIED, "variation": {"seed": 3, "strength": 0.25, "earlier": [{"seed": 1, "strength": 0.5}]}},
            "Seed: 5, Size: 64x64, Version: Darkroom",
        ),
        ({**VARIED, "variation": {"seed": 3, "strength": 1.0, "earlier": []}}, "Seed: 5, Size: 64x64, Version: Darkroom"),
        (
            PAINTED,
            "Seed: 5, Size: 64x64, Mask blur: 4, Masked content: latent noise, Inpaint area: Only masked, Masked area padding: 32, "
            "Version: Darkroom",
        ),
    ],
)
def test_variations_and_masks_are_told_in_automatic1111_s_words(parameters: dict[str, Any], line: str) -> None:
    assert infotext(parameters, 64, 64).splitlines()[-1] == line
