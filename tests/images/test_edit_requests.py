"""What a request to edit comes to when it is submitted, and what of it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.access.services import create_key
from api.files.decoding import encode_png
from api.files.services import store_upload
from api.images.models import GeneratedImage
from tests.api.bodies import ASYNC
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def send(client: Client) -> Send:
    def post(path: str = "/api/img2img/", **body: Any) -> Any:
        return client.post(path, body, content_type="application/json", headers=ASYNC)

    return post


def picture(width: int = 128, height: int = 128) -> str:
    return str(store_upload(owner_key="local", data=encode_png(Image.new("RGB", (width, height), "teal"))).pk)


def params(reply: Any) -> dict[str, Any]:
    assert reply.status_code == 202, reply.content
    return reply.json()["params"]  # type: ignore[no-any-return]


def error(reply: Any) -> tuple[str, str]:
    assert reply.status_code == 400, reply.content
    [found] = reply.json()["errors"]
    return found["field"], found["detail"]


# -- The size that is worked on, and the strength -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fields", "worked_on"),
    [
        ((128, 128), {}, (128, 128)),
        ((1000, 500), {"mask": True}, (184, 88)),
        ((1000, 500), {"mask": True, "inpaint_area": "mask"}, (128, 128)),
        ((1000, 500), {"mask": True, "inpaint_area": "mask", "width": 256}, (256, 128)),
        ((128, 128), {"outpaint": {"right": 96}}, (224, 128)),
        ((128, 128), {"outpaint": {"right": 1}}, (136, 128)),
        ((128, 128), {"outpaint": {"left": 64, "right": 64, "top": 64, "bottom": 64}}, (184, 184)),
        ((40, 40), {"outpaint": {"top": 20}}, (112, 160)),
        ((1000, 500), {"outpaint": {"right": 8}, "inpaint_area": "mask"}, (128, 128)),
        ((1000, 500), {"inpaint_area": "mask"}, (184, 88)),
    ],
)
def test_the_size_that_is_worked_on(
    send: Send, size: tuple[int, int], fields: dict[str, Any], worked_on: tuple[int, int]
) -> None:
    mask = {"mask": picture(*size)} if fields.get("mask") else {}
    found = params(send(prompt="a", image=picture(*size), **{**fields, **mask}))
    assert (found["width"], found["height"]) == worked_on


def test_what_is_outpainted_begins_with_noise_unless_a_strength_is_given(send: Send) -> None:
    image = picture()
    strengths = [
        params(send(prompt="a", image=image, **fields))["strength"]
        for fields in ({}, {"outpaint": {"left": 8}}, {"outpaint": {"left": 8}, "strength": 0.5}, {"outpaint": {}})
    ]
    assert strengths == [0.6, 1.0, 0.5, 0.6]


COARSE = (
    "outpaint: the picture grows to {}, which the model sees at {} of its size: what is painted is enlarged, and coarser than the picture. "
    "Larger `width` and `height` show it more."
)


@pytest.mark.parametrize(
    ("size", "fields", "said"),
    [
        ((20000, 10), {}, ["image: of its 20000 × 10 pixels most are cropped, since it is scaled to cover 2048 × 64."]),
        (
            (256, 128),
            {"width": 64, "height": 256},
            ["image: of its 256 × 128 pixels most are cropped, since it is scaled to cover 64 × 256."],
        ),
        ((1000, 500), {}, []),
        ((192, 128), {"width": 128, "height": 128}, []),
        ((20000, 10), {"outpaint": {"top": 2}}, [COARSE.format("20000 × 12", "10%")]),
        ((128, 128), {"outpaint": {"left": 2048}}, [COARSE.format("2176 × 128", "35%")]),
        ((128, 128), {"outpaint": {"left": 2048}, "width": 2048, "height": 128}, []),
        ((128, 128), {"outpaint": {"left": 256}}, []),
        ((20000, 10), {"mask": True, "inpaint_area": "mask"}, []),
    ],
)
def test_a_picture_that_is_mostly_cropped_is_told(
    send: Send, size: tuple[int, int], fields: dict[str, Any], said: list[str]
) -> None:
    mask = {"mask": picture(*size)} if fields.get("mask") else {}
    job = send(prompt="a", image=picture(*size), **{**fields, **mask}).json()
    assert job["warnings"] == said
    assert send(**job["params"]).json()["warnings"] == said


# -- What is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"outpaint": {"left": 3000}}, "outpaint.left", "less than or equal to 2048"),
        ({"outpaint": {"left": -1}}, "outpaint.left", "greater than or equal to 0"),
        ({"outpaint": {"lef": 1}}, "outpaint.lef", "Did you mean 'left'?"),
        ({"outpaint": 8}, "outpaint", "Must be a JSON object"),
        ({"inpaint_area": "masked"}, "inpaint_area", '"masked" is not a valid choice. Known: whole, mask.'),
        ({"mask_padding": 513}, "mask_padding", "less than or equal to 512"),
        ({"mask_blur": 65}, "mask_blur", "less than or equal to 64"),
        ({"mask_blur": "nan"}, "mask_blur", "A valid number is required"),
        ({"fill": "latent" * 50}, "fill", '…" is not a valid choice. Known: original, blur, noise, empty.'),
        ({"fill": "noise", "model_id": "flux.1-schnell"}, "fill", "'original' and 'blur' do"),
        ({"variation": {"seed": 1, "strength": 0.5}, "model_id": "flux.1-schnell"}, "variation", "need SD 1.x"),
        ({"variation": {"strength": 0.5}}, "variation", "its `image` (an id here) or its `seed`"),
        ({"variation": {"seed": 1}}, "variation.strength", "required"),
        ({"variation": {"seed": 1, "strength": 1.5}}, "variation.strength", "less than or equal to 1"),
        ({"variation": {"seed": 2**53, "strength": 0.5}}, "variation.seed", "less than or equal to"),
        ({"variation": {"image": "x", "strength": 0.5}}, "variation.image", "There is no picture with this id"),
    ],
)
def test_bad_input_names_its_field(send: Send, fields: dict[str, Any], field: str, said: str) -> None:
    name, detail = error(send(prompt="a", image=picture(), **fields))
    assert name == field
    assert said in detail


def test_a_grown_picture_has_the_limit_of_every_picture(send: Send, settings: Any) -> None:
    settings.MAX_IMAGE_PIXELS = 128 * 228
    image = picture()
    params(send(prompt="a", image=image, outpaint={"right": 100}))
    name, detail = error(send(prompt="a", image=image, outpaint={"right": 101}))
    assert (name, detail) == ("outpaint", "The grown picture would have 229 × 128 pixels; 29184 are allowed.")


@pytest.mark.parametrize(
    ("size", "fields", "field"),
    [
        ((3000, 3000), {"inpaint_area": "mask", "mask": True, "upscale": {"scale": 3}}, "upscale.scale"),
        ((3000, 2700), {"outpaint": {"bottom": 64}, "upscale": {"scale": 3}}, "upscale.scale"),
        ((16383, 64), {"outpaint": {"left": 8}, "output_format": "webp"}, "output_format"),
        ((16384, 64), {"inpaint_area": "mask", "mask": True, "output_format": "webp"}, "output_format"),
        ((8192, 64), {"outpaint": {"left": 8}, "upscale": {"scale": 2}, "output_format": "webp"}, "output_format"),
    ],
)
def test_what_keeps_its_own_size_is_measured_by_it(
    send: Send, size: tuple[int, int], fields: dict[str, Any], field: str
) -> None:
    """The size that is worked in is a small one."""
    mask = {"mask": picture(*size)} if fields.get("mask") else {}
    assert error(send(prompt="a", image=picture(*size), **{**fields, **mask}))[0] == field


def test_a_long_picture_is_outpainted(send: Send) -> None:
    found = params(send(prompt="a", image=picture(20000, 10), outpaint={"top": 2}))
    assert (found["width"], found["height"]) == (2048, 64)


def test_a_hosted_model_edits_nothing(send: Send, settings: Any) -> None:
    settings.USE_LOCAL_MODELS = False
    reply = send(prompt="a", image=picture(), outpaint={"left": 8}, model_id="dreamshaper-8")
    assert error(reply)[0] == "outpaint"


# -- Variations of a picture ----------------------------------------------------------------------------------------------------


def varied(**fields: Any) -> GeneratedImage:
    parameters = {
        "prompt": "a lake",
        "steps": 7,
        "guidance_scale": 3.5,
        "width": 64,
        "num_images": 4,
        "tags": ["x"],
        "mask": None,
    }
    return make_picture(seed=42, parameters={**parameters, **fields})


def test_what_made_the_picture_stands_for_what_is_left_open(send: Send) -> None:
    image = varied()
    found = params(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.2}, steps=9, seed=5))
    assert [found[name] for name in ("prompt", "steps", "guidance_scale", "width", "num_images", "tags", "seed")] == [
        "a lake", 9, 3.5, 64, 1, [], 5,
    ]  # fmt: skip
    assert found["variation"] == {"seed": 42, "image": str(image.pk), "strength": 0.2, "earlier": []}


def test_a_varied_picture_that_has_gone_leaves_its_job_s_params_valid(send: Send) -> None:
    image = varied()
    found = params(send("/api/txt2img/", variation={"image": f"darkroom://images/{image.pk}", "strength": 0.2}))
    image.file.delete()
    assert params(send("/api/txt2img/", **found)) == found


def test_a_variation_of_a_variation_keeps_what_led_to_it(send: Send) -> None:
    image = varied(variation={"seed": 7, "strength": 0.5, "earlier": [{"seed": 8, "strength": 0.25}]})
    found = params(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.1}))
    assert found["variation"]["seed"] == 7
    assert found["variation"]["earlier"] == [{"seed": 8, "strength": 0.25}, {"seed": 42, "strength": 0.5}]


def test_a_picture_made_from_another_is_varied_where_pictures_are_edited(send: Send) -> None:
    image = varied(image=picture(), strength=0.4)
    name, detail = error(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.1}))
    assert (name, "/api/img2img/" in detail) == ("variation.image", True)
    found = params(send(variation={"image": str(image.pk), "strength": 0.1}))
    assert (found["image"], found["strength"]) == (image.parameters["image"], 0.4)


def test_an_upload_has_no_seed_to_vary(send: Send) -> None:
    image = make_picture(origin="uploaded", seed=None, parameters={})
    assert error(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.1}))[0] == "variation.image"


def test_another_seed_than_the_picture_s_is_refused(send: Send) -> None:
    name, detail = error(send("/api/txt2img/", variation={"image": str(varied().pk), "seed": 1, "strength": 0.1}))
    assert (name, "the seed 42" in detail) == ("variation.seed", True)


def test_a_seed_as_text_is_the_same_seed(send: Send) -> None:
    found = params(send("/api/txt2img/", variation={"image": str(varied().pk), "seed": "42", "strength": 0.1}))
    assert found["variation"]["seed"] == 42


EARLIER = [{"seed": 8, "strength": 0.25}]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("earlier", [{"seed": 3, "strength": 0.5}], "leave `earlier` out"),
        ("earlier", [], "leave `earlier` out"),
        ("earlier", EARLIER, "leave `earlier` out"),
        ("earlier", "x", "list"),
        ("seed", "x", "integer"),
        ("seed", "6", "leave `seed` out"),
    ],
)
def test_what_the_picture_says_itself_is_not_overwritten_in_silence(send: Send, name: str, value: object, said: str) -> None:
    image = varied(variation={"seed": 7, "strength": 0.5, "earlier": EARLIER})
    field, detail = error(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.1, name: value}))
    assert (field, said in detail) == (f"variation.{name}", True), detail


def test_earlier_of_a_picture_that_has_none_is_refused(send: Send) -> None:
    body = {"image": str(varied().pk), "strength": 0.1, "earlier": [{"seed": 3, "strength": 0.5}]}
    assert error(send("/api/txt2img/", variation=body))[0] == "variation.earlier"


def test_the_params_of_a_variation_posted_again_are_valid(send: Send) -> None:
    for image in (varied(), varied(variation={"seed": 7, "strength": 0.5, "earlier": EARLIER})):
        found = params(send("/api/txt2img/", variation={"image": str(image.pk), "strength": 0.1}))
        assert params(send("/api/txt2img/", **found)) == found


def test_a_prompt_of_null_is_not_given(send: Send) -> None:
    variation = {"image": str(varied().pk), "strength": 0.1}
    assert params(send("/api/txt2img/", prompt=None, variation=variation))["prompt"] == "a lake"
    assert error(send("/api/txt2img/", prompt=None))[0] == "prompt"


def test_somebody_else_s_picture_is_not_found(client: Client) -> None:
    image = varied()
    _, token = create_key(name="other")
    reply = client.post(
        "/api/txt2img/",
        {"variation": {"image": str(image.pk), "strength": 0.1}},
        content_type="application/json",
        headers={**ASYNC, "Authorization": f"Bearer {token}"},
    )
    assert error(reply) == ("variation.image", "There is no picture with this id.")


def test_what_is_painted_has_no_second_pass(send: Send) -> None:
    for painted in ({"outpaint": {"left": 8}}, {"mask": picture()}):
        assert error(send(prompt="a", image=picture(), hires={"scale": 2}, **painted))[0] == "hires"
