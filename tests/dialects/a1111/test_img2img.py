"""POST /sdapi/v1/img2img."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.dialects.a1111.conftest import ask, encoded, info, job_of, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED: dict[str, Any] = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}
BLUE = Image.new("RGB", (64, 64), "blue")
SQUARE = encoded(BLUE)


def masked(size: tuple[int, int], box: tuple[int, int, int, int]) -> str:
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return encoded(mask)


def test_a_picture_becomes_another_one(server: LiveServer) -> None:
    reply = ask(server, "img2img", **ASKED, init_images=[SQUARE], denoising_strength=0.5)
    [picture] = pictures(reply)
    assert picture.size == (64, 64)
    assert info(reply)["denoising_strength"] == 0.5
    assert (reply.json()["parameters"]["init_images"], reply.json()["parameters"]["mask"]) == (None, None)
    assert job_of(server, reply)["params"]["strength"] == 0.5


def test_the_echo_has_the_pictures_where_they_are_wanted(server: LiveServer) -> None:
    mask = masked((64, 64), (0, 0, 32, 64))
    reply = ask(server, "img2img", **ASKED, init_images=[SQUARE], mask=mask, include_init_images=True)
    assert reply.json()["parameters"]["init_images"] == [SQUARE]
    assert reply.json()["parameters"]["mask"] == mask


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_a_picture_of_another_shape_comes_to_the_size(server: LiveServer, mode: int) -> None:
    wide = encoded(Image.new("RGB", (128, 64), "blue"))
    reply = ask(server, "img2img", **ASKED, init_images=[wide], resize_mode=mode)
    assert pictures(reply)[0].size == (64, 64)
    assert job_of(server, reply)["params"]["fit"] == ("stretch", "cover", "contain", "stretch")[mode]
    assert any("latent upscale" in one for one in info(reply)["warnings"]) == (mode == 3)


def test_around_a_mask_the_picture_keeps_its_size_and_its_pixels_outside(server: LiveServer) -> None:
    """A1111's default is to paint the part around the mask."""
    large = Image.new("RGB", (120, 90), "blue")
    body = {**ASKED, "init_images": [encoded(large)], "mask": masked((120, 90), (50, 40, 70, 60)), "mask_blur": 0}
    [picture] = pictures(ask(server, "img2img", **body))
    pixels = np.asarray(picture.convert("RGB"))
    assert picture.size == (120, 90)
    outside = np.ones((90, 120), bool)
    outside[40:60, 50:70] = False
    assert (pixels[outside] == (0, 0, 255)).all()
    assert (pixels[~outside] != (0, 0, 255)).any()


@pytest.mark.parametrize("inverted", [0, 1, False, True])
def test_of_an_inverted_mask_the_black_is_painted(server: LiveServer, inverted: int) -> None:
    body = {**ASKED, "init_images": [SQUARE], "mask": masked((64, 64), (0, 0, 32, 64)), "mask_blur": 0}
    [picture] = pictures(
        ask(server, "img2img", **body, inpaint_full_res=False, inpainting_mask_invert=inverted, denoising_strength=1)
    )
    kept = (np.asarray(picture.convert("RGB")) == (0, 0, 255)).all(axis=2)
    left, right = kept[:, :32].all(), kept[:, 32:].all()
    assert (left, right) == ((True, False) if inverted else (False, True))


def test_masks_and_fills_are_those_of_the_request_here(server: LiveServer) -> None:
    body = {**ASKED, "init_images": [SQUARE], "mask": masked((64, 64), (0, 0, 32, 64))}
    reply = ask(server, "img2img", **body, inpainting_fill=2, inpaint_full_res=True, inpaint_full_res_padding=16, mask_blur=6)
    params = job_of(server, reply)["params"]
    expected = {"fill": "noise", "inpaint_area": "mask", "mask_padding": 16, "mask_blur": 6.0, "mask_invert": False}
    assert expected.items() <= params.items()
    extra = info(reply)["extra_generation_params"]
    assert {"Mask blur": "6", "Masked content": "latent noise", "Masked area padding": "16"}.items() <= extra.items()


def test_a_control_unit_without_a_picture_takes_the_one_that_is_worked_on(server: LiveServer) -> None:
    unit = {"module": "canny", "model": "None", "weight": 0.7, "guidance_end": 0.8, "control_mode": "Balanced"}
    reply = ask(server, "img2img", **ASKED, init_images=[SQUARE], alwayson_scripts={"ControlNet": {"args": [unit]}})
    assert len(pictures(reply)) == 1
    params = job_of(server, reply)["params"]
    [control] = params["control"]
    assert control["image"] == params["image"]
    expected = {"preprocessor": "canny", "model_id": "starter-control", "weight": 0.7, "end": 0.8}
    assert expected.items() <= control.items()
    assert "ControlNet 0" in info(reply)["extra_generation_params"]
