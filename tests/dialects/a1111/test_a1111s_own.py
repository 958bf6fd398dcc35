"""The requests of A1111's own tests of its API (29 of them; those of options, lists and extras are in the other files): each is a 200."""

from typing import Any

import pytest
from PIL import Image

from tests.dialects.a1111.conftest import ask, encoded, info, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
BOTH: dict[str, Any] = {
    "batch_size": 1,
    "cfg_scale": 7,
    "eta": 0,
    "height": 64,
    "n_iter": 1,
    "negative_prompt": "",
    "prompt": "example prompt",
    "restore_faces": False,
    "s_churn": 0,
    "s_noise": 1,
    "s_tmax": 0,
    "s_tmin": 0,
    "sampler_index": "Euler a",
    "seed": -1,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "steps": 3,
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0,
    "tiling": False,
    "width": 64,
}
TXT2IMG = {**BOTH, "denoising_strength": 0, "enable_hr": False, "firstphase_height": 0, "firstphase_width": 0}
IMG2IMG = {
    **BOTH,
    "denoising_strength": 0.75,
    "include_init_images": False,
    "inpaint_full_res": False,
    "inpaint_full_res_padding": 0,
    "inpainting_fill": 0,
    "inpainting_mask_invert": False,
    "mask": None,
    "mask_blur": 4,
    "override_settings": {},
    "resize_mode": 0,
}
NOTATION = "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"negative_prompt": "example negative prompt"},
        {"prompt": NOTATION},
        {"height": 128},
        {"enable_hr": True},
        {"tiling": True},
        {"restore_faces": True},
        {"sampler_index": "PLMS"},
        {"sampler_index": "DDIM"},
        {"sampler_index": "UniPC"},
        {"n_iter": 2},
        {"batch_size": 2},
    ],
)
def test_txt2img(server: LiveServer, more: dict[str, Any]) -> None:
    body = {**TXT2IMG, **more}
    made = pictures(ask(server, "txt2img", **body))
    scale = 2 if body["enable_hr"] else 1
    assert {picture.size for picture in made} == {(body["width"] * scale, body["height"] * scale)}
    assert len(made) == body["n_iter"] * body["batch_size"]


@pytest.mark.parametrize(
    ("masked", "more"),
    [
        (False, {}),
        (True, {}),
        (True, {"inpainting_mask_invert": True}),
        (False, {"include_init_images": True}),
        (False, {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]}),
    ],
)
def test_img2img(server: LiveServer, masked: bool, more: dict[str, Any]) -> None:
    sent = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    body = {**IMG2IMG, "init_images": [f"data:image/png;base64,{encoded(sent)}"], **more}
    reply = ask(server, "img2img", **{**body, **({"mask": f"data:image/png;base64,{encoded(mask)}"} if masked else {})})
    assert len(pictures(reply)) == 1


UPSCALED = {**IMG2IMG, "script_name": "SD upscale"}


@pytest.mark.parametrize(
    ("arguments", "size"), [([], (160, 96)), (["", 64, "Lanczos", 1.5], (120, 72)), ([None, 8, None, 3], (240, 144))]
)
def test_sd_upscale_has_the_size_of_the_enlarged_picture(
    server: LiveServer, arguments: list[Any], size: tuple[int, int]
) -> None:
    sent = encoded(Image.linear_gradient("L").resize((80, 48)).convert("RGB"))
    reply = ask(server, "img2img", **{**UPSCALED, "init_images": [sent], "script_args": arguments})
    assert [picture.size for picture in pictures(reply)] == [size]
    assert "in tiles" in str(info(reply)["warnings"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", 8, "R-ESRGAN 4x+", 2], "script_args.2: "),
        (["", 8, "Lanczos", 5], "script_args.3: "),
        (["", 8, "Lanczos", "2"], "script_args.3: "),
        (["", 8, "Lanczos", True], "script_args.3: "),
        (["", 8, ["Lanczos"], 2], "script_args.2: "),
    ],
)
def test_what_sd_upscale_can_not_do_is_refused(server: LiveServer, arguments: list[Any], said: str) -> None:
    sent = encoded(Image.new("RGB", (40, 24)))
    reply = ask(server, "img2img", **{**UPSCALED, "init_images": [sent], "script_args": arguments})
    assert (reply.status_code, reply.json()["errors"][: len(said)]) == (422, said)


def test_sd_upscale_of_what_is_too_large_or_no_picture_is_refused(server: LiveServer) -> None:
    large = ask(server, "img2img", **{**UPSCALED, "init_images": [encoded(Image.new("RGB", (1600, 64)))]})
    assert (large.status_code, large.json()["errors"][:15]) == (422, "script_args.3: ")
    wrong = ask(server, "img2img", **{**UPSCALED, "init_images": ["no picture"]})
    assert (wrong.status_code, wrong.json()["detail"]) == (500, "Invalid encoded image")
    assert ask(server, "txt2img", **{**TXT2IMG, "script_name": "sd upscale"}).status_code == 422
