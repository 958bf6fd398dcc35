"""POST /api/png-info/ of our own files: the same request, or a word about what it can't give back."""

import json
from typing import Any

import pytest
from django.test import Client

from api.images.metadata import encode_image, infotext
from api.images.spec import Img2ImgSpec
from api.specs import fields_of
from tests.images.png_files import PICTURE, Ask, png
from tests.images.png_files import ask as ask  # the fixture
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_ours_comes_back_as_the_same_request(ask: Ask, client: Client, output_format: str) -> None:
    fields = {
        "prompt": "a (red:1.3) lake <lora:riso:0.5>",
        "prompt_syntax": "a1111",
        "negative_prompt": "(x:1.1)",
        "seed": 5,
        "steps": 3,
    }
    sent = client.post("/api/txt2img/", fields, content_type="application/json", headers={"Prefer": "respond-async"})
    params = sent.json()["params"]
    data = encode_image(PICTURE, output_format, {**params, "job": "x", "scores": {}}, pytest.fail)
    answer = ask(data)

    assert answer["source"] == "darkroom"
    again = client.post(
        "/api/txt2img/", answer["request"], content_type="application/json", headers={"Prefer": "respond-async"}
    )
    assert again.json()["params"] == params
    assert answer["parameters"].startswith("a (red:1.3) lake <lora:riso:0.5>\nNegative prompt: (x:1.1)")
    assert (answer["missing"], answer["warnings"]) == ([], [])


@pytest.mark.parametrize("syntax", ["compel", "a1111"])
def test_ours_is_read_where_only_the_text_is_left(ask: Ask, syntax: str) -> None:
    parameters = {
        "prompt": "a (red)++ lake",
        "prompt_syntax": syntax,
        "steps": 3,
        "seed": 1,
        "loras": [{"id": "riso", "weight": 0.5}],
    }
    answer = ask(png(parameters=infotext(parameters, 64, 64)))

    assert answer["source"] == "darkroom"
    assert {name: answer["request"][name] for name in ("prompt", "prompt_syntax", "loras")} == {
        name: parameters[name] for name in ("prompt", "prompt_syntax", "loras")
    }


def test_a_picture_here_is_read_by_its_id(client: Client) -> None:
    image = make_picture()
    answer = client.post("/api/png-info/", {"image": str(image.pk)}, content_type="application/json").json()

    assert answer["source"] == "darkroom"
    assert answer["request"]["prompt"] == image.prompt


def test_how_the_picture_was_kept_comes_back(ask: Ask) -> None:
    kept = {"output_format": "webp", "tags": ["shop", "autumn"], "deterministic": True}
    answer = ask(png(darkroom=json.dumps({"prompt": "a lake", "model_id": "starter", "seed": 8, **kept})))
    assert {name: answer["request"][name] for name in kept} == kept
    assert answer["warnings"] == []


def test_what_is_no_value_of_a_field_is_said_and_left_out(ask: Ask) -> None:
    parameters = {"prompt": "a lake", "seed": 8, "output_format": "tiff", "tags": "shop", "deterministic": {}}
    answer = ask(png(darkroom=json.dumps(parameters)))
    assert not {"output_format", "tags", "deterministic"} & answer["request"].keys()
    assert [
        name for name in ("output_format", "tags", "deterministic") if f"{name}: " not in " ".join(answer["warnings"])
    ] == []


EDITED = {"image": "0192-source", "strength": 1.0}
CONTROL = {"image": "0192-map", "kind": None, "preprocessor": "canny", "model_id": "sd-controlnet-canny", "weight": 1.0}
PROMPT = {"image": "0192-photo", "model_id": "ip-adapter-plus", "weight": 0.6}


@pytest.mark.parametrize(
    ("made_with", "named"),
    [
        (EDITED, ["strength 1.0", "image: ", "0192-source"]),
        ({**EDITED, "mask": "0192-mask"}, ["mask: left out"]),
        ({**EDITED, "outpaint": {"left": 0, "right": 64, "top": 0, "bottom": 0}}, ["outpaint: left out"]),
        (
            {
                **EDITED,
                "mask": "m",
                "mask_invert": True,
                "mask_blur": 2.0,
                "inpaint_area": "mask",
                "mask_padding": 8,
                "fill": "blur",
            },
            ["mask, mask_invert, mask_blur, inpaint_area, mask_padding, fill: left out"],
        ),
        ({"num_images": 4}, ["num_images 4: left out"]),
        ({"best_of": 8, "rank_by": "clip", "num_images": 2}, ["best_of 8, rank_by clip: left out", "num_images 2"]),
        ({"preset": "product-shot@2"}, ["preset product-shot@2: left out"]),
        ({"control": [CONTROL]}, ["control: left out", "0192-map", "canny", "sd-controlnet-canny"]),
        ({"control": [CONTROL, {**CONTROL, "image": "second"}]}, ["0192-map", "second"]),
        ({"ip_adapter": [PROMPT]}, ["ip_adapter: left out", "0192-photo", "ip-adapter-plus"]),
    ],
)
@pytest.mark.parametrize("from_the_history", [False, True])
def test_ours_says_what_the_request_can_t_give_back(
    ask: Ask, client: Client, made_with: dict[str, Any], named: list[str], from_the_history: bool
) -> None:
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, **made_with}
    if from_the_history:
        image = make_picture(parameters=parameters)
        answer = client.post("/api/png-info/", {"image": str(image.pk)}, content_type="application/json").json()
    else:
        answer = ask(png(darkroom=json.dumps(parameters)))
    said = " ".join(answer["warnings"])
    assert [part for part in named if part not in said] == [], said


def test_every_field_of_ours_comes_back_or_is_said_to_be_left_out(ask: Ask) -> None:
    made_with: dict[str, Any] = {
        "prompt": "a lake", "negative_prompt": "fog", "prompt_syntax": "compel", "model_id": "starter", "width": 64, "height": 64,
        "steps": 3, "guidance_scale": 4.0, "seed": 8, "variation": {"seed": 3, "strength": 0.5}, "scheduler": "euler",
        "loras": [{"id": "riso", "weight": 0.5}], "control": [CONTROL], "ip_adapter": [PROMPT], "clip_skip": 1, "hires": {"scale": 2.0},
        "upscale": {"model_id": "lanczos", "scale": 2}, "image": "i", "mask": "m", "mask_invert": True, "mask_blur": 2.0,
        "inpaint_area": "mask", "mask_padding": 8, "fill": "noise", "outpaint": {"left": 8}, "fit": "stretch", "strength": 0.5,
        "num_images": 4, "best_of": 8, "rank_by": {"clip": 1.0}, "output_format": "webp", "tags": ["shop"], "deterministic": True,
        "preset": "product-shot@2", "output_quality": 80, "cutout": {"model_id": "starter-cutout"}, "lenient_prompts": True,
    }  # fmt: skip
    assert {*made_with} == {one.name for one in fields_of(Img2ImgSpec)}
    answer = ask(png(darkroom=json.dumps(made_with)))
    said = " ".join(answer["warnings"])
    assert [name for name in made_with if name not in answer["request"] and name not in said] == []


def test_an_ordinary_picture_of_ours_has_no_warning(ask: Ask) -> None:
    idle = {
        "control": [],
        "ip_adapter": [],
        "mask_invert": False,
        "mask_blur": 0.0,
        "inpaint_area": "whole",
        "mask_padding": 32,
        "fill": "original",
    }
    answer = ask(png(darkroom=json.dumps({"prompt": "a lake", "model_id": "starter", "seed": 8, **idle})))
    assert (answer["missing"], answer["warnings"]) == ([], [])


@pytest.mark.parametrize("rubbish", [5, "x", {}, [5], [{"image": {}}], [[]] * 100, {"left": []}])
def test_rubbish_in_the_place_of_our_edits_is_no_error(ask: Ask, rubbish: object) -> None:
    names = ("control", "image", "mask", "outpaint", "fill", "mask_blur", "strength")
    answer = ask(png(darkroom=json.dumps({"prompt": "a", "seed": 8, **dict.fromkeys(names, rubbish)})))
    assert answer["request"]["seed"] == 8


def test_a_variation_of_ours_is_read_back(ask: Ask) -> None:
    variation = {"seed": 3, "strength": 0.5, "earlier": [{"seed": 9, "strength": 0.25}]}
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, "steps": 5, "variation": variation}

    request = ask(png(darkroom=json.dumps(parameters)))["request"]
    assert (request["seed"], request["variation"]) == (8, variation)


@pytest.mark.parametrize(
    "rubbish", [5, "x", [], {"seed": {}, "strength": []}, {"earlier": "x"}, {"seed": 1, "strength": 0.5, "earlier": 5}]
)
def test_rubbish_in_the_place_of_our_variation_is_no_error(ask: Ask, rubbish: object) -> None:
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, "variation": rubbish}

    assert ask(png(darkroom=json.dumps(parameters)))["request"]["seed"] == 8
