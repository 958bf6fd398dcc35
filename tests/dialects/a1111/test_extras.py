"""POST /sdapi/v1/extra-single-image and extra-batch-images, interrogate, unload- and reload-checkpoint, over a live server."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.dialects.a1111.conftest import ask, decoded, encoded, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
SENT = {  # as webuiapi and A1111's own test send it
    "resize_mode": 0,
    "show_extras_results": True,
    "gfpgan_visibility": 0,
    "codeformer_visibility": 0,
    "codeformer_weight": 0,
    "upscaling_resize": 2,
    "upscaling_resize_w": 128,
    "upscaling_resize_h": 128,
    "upscaling_crop": True,
    "upscaler_1": "Lanczos",
    "upscaler_2": "None",
    "extras_upscaler_2_visibility": 0,
    "upscale_first": False,
}


def picture(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def enlarge(server: LiveServer, sent: Image.Image, **body: Any) -> Image.Image:
    reply = ask(server, "extra-single-image", **{**SENT, "image": f"data:image/png;base64,{encoded(sent)}", **body})
    assert reply.status_code == 200, reply.text
    assert reply.json().keys() == {"image", "html_info"}
    return Image.open(io.BytesIO(base64.b64decode(reply.json()["image"])))


def refused(server: LiveServer, path: str = "extra-single-image", **body: Any) -> tuple[int, str]:
    reply = ask(server, path, **{**SENT, "image": encoded(picture()), **body})
    assert reply.json().keys() == {"error", "detail", "body", "errors"}
    return reply.status_code, reply.json()["errors"]


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({}, (96, 64)),
        ({"upscaling_resize": 3.0}, (144, 96)),
        ({"upscaling_resize": 1.5}, (72, 48)),
        ({"upscaling_resize": 8}, (384, 256)),
        ({"upscaling_resize": 0.5}, (24, 16)),
        ({"resize_mode": 1}, (128, 128)),
        ({"resize_mode": 1, "upscaling_crop": False}, (192, 128)),
        ({"resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 32}, (96, 32)),
        ({"upscaler_1": "starter-upscaler"}, (96, 64)),
        ({"upscaler_1": "starter-upscaler", "upscaling_resize": 2.5}, (120, 80)),
        ({"show_extras_results": False}, (96, 64)),
        ({"upscaler_2": "None", "extras_upscaler_2_visibility": 1}, (96, 64)),
        ({"upscaler_1": " none ", "image": encoded(picture())}, (48, 32)),
    ],
)
def test_a_picture_is_enlarged_by_a_factor_or_to_a_size(server: LiveServer, body: Any, size: tuple[int, int]) -> None:
    assert enlarge(server, picture(), **body).size == size


def test_a_second_upscaler_is_mixed_in_as_much_as_is_to_be_seen(server: LiveServer) -> None:
    sent = Image.new("RGB", (8, 8), "black")
    sent.paste("white", (0, 0, 4, 8))
    reply = ask(
        server, "extra-single-image",
        **{**SENT, "image": encoded(sent), "upscaler_1": "Nearest", "upscaler_2": "Lanczos", "extras_upscaler_2_visibility": 0.25},
    )  # fmt: skip
    nearest, lanczos = (sent.resize((16, 16), kind) for kind in (Image.Resampling.NEAREST, Image.Resampling.LANCZOS))
    assert nearest.tobytes() != lanczos.tobytes()
    assert decoded(reply.json()["image"]).convert("RGB").tobytes() == Image.blend(nearest, lanczos, 0.25).tobytes()
    said = "Postprocess upscale by: 2, Postprocess upscaler: Nearest, Postprocess upscaler 2: Lanczos"
    assert reply.json()["html_info"] == f"<p>{said}</p>"
    told = ask(server, "png-info", image=reply.json()["image"]).json()
    assert "Postprocess upscaler 2: Lanczos" in told["info"]


def test_what_is_beyond_the_size_is_cropped_from_the_middle(server: LiveServer) -> None:
    sent = Image.new("RGB", (96, 32), "red")
    sent.paste("blue", (32, 0, 64, 32))
    made = enlarge(server, sent, resize_mode=1, upscaling_resize_w=64, upscaling_resize_h=64)
    assert made.getpixel((32, 32)) == (0, 0, 255)
    assert made.convert("RGB").getpixel((4, 32))[0] < 64  # type: ignore[index]


def test_transparency_stays(server: LiveServer) -> None:
    sent = picture(mode="RGBA")
    sent.putalpha(Image.linear_gradient("L").resize(sent.size))
    assert enlarge(server, sent).mode == "RGBA"


def test_it_is_a_job_in_the_history(server: LiveServer) -> None:
    reply = ask(server, "extra-single-image", **SENT, image=encoded(picture()))
    job = server.client.get(reply.headers["Location"]).json()
    assert (job["kind"], job["source"], job["status"], job["model_id"]) == ("upscale", "a1111", "succeeded", "lanczos")
    assert reply.json()["html_info"] == "<p>Postprocess upscale by: 2, Postprocess upscaler: Lanczos</p>"


def test_what_was_done_is_said_as_a1111_says_it(server: LiveServer) -> None:
    sent = {**SENT, "image": encoded(picture())}
    for body, said in [({"upscaling_resize": 1.5}, "by: 1.5"), ({"resize_mode": 1}, "to: 128x128")]:
        html = ask(server, "extra-single-image", **{**sent, **body}).json()["html_info"]
        assert html == f"<p>Postprocess upscale {said}, Postprocess upscaler: Lanczos</p>"


@pytest.mark.parametrize("body", [{}, {"model": "clip"}])
def test_without_an_upscaler_the_picture_stays_as_it_is(server: LiveServer, body: Any) -> None:
    """As two of A1111's own tests send it."""
    sent = picture(20, 10)
    reply = ask(server, "extra-single-image", image=encoded(sent), **body)
    assert (reply.status_code, "Location" in reply.headers) == (200, False)
    assert Image.open(io.BytesIO(base64.b64decode(reply.json()["image"]))).tobytes() == sent.convert("RGB").tobytes()


def test_the_format_is_the_keys_own(server: LiveServer) -> None:
    ask(server, "options", samples_format="jpg")
    made = enlarge(server, picture())
    ask(server, "options", samples_format=None)
    assert made.format == "JPEG"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"upscaler_1": "R-ESRGAN 4x+"}, 422, "upscaler_1: There is no upscaler 'R-ESRGAN 4x+'. Known: None, "),
        ({"upscaler_1": "starter"}, 422, "upscaler_1: "),
        ({"gfpgan_visibility": 0.5}, 422, "gfpgan_visibility: Nothing restores faces here."),
        ({"codeformer_visibility": 1}, 422, "codeformer_visibility: "),
        (
            {"upscaler_2": "ESRGAN_4x", "extras_upscaler_2_visibility": 0.5},
            422,
            "upscaler_2: There is no upscaler 'ESRGAN_4x'.",
        ),
        ({"upscaler_2": "Lanczos", "extras_upscaler_2_visibility": 1.5}, 422, "extras_upscaler_2_visibility: "),
        ({"upscaling_resize": 0}, 422, "upscaling_resize: "),
        ({"upscaling_resize": -1}, 422, "upscaling_resize: "),
        ({"upscaling_resize": "large"}, 422, "upscaling_resize: "),
        ({"resize_mode": 1, "upscaling_resize_w": 0}, 422, "upscaling_resize_w: "),
        ({"resize_mode": 1, "upscaling_resize_w": 65000, "upscaling_resize_h": 65000}, 422, "upscaling_resize_w: "),
        ({"resize_mode": 2}, 422, "resize_mode: "),
        ({"image": "no picture"}, 500, "image: "),
        ({"image": ""}, 500, "image: "),
        ({"image": 7.5}, 422, "image: "),
        ({"image": [1]}, 422, "image: "),
    ],
)
def test_what_can_not_be_is_refused_by_a1111s_names(server: LiveServer, body: Any, status: int, said: str) -> None:
    got, errors = refused(server, **body)
    assert (got, errors[: len(said)]) == (status, said)


def test_a_batch_comes_back_in_its_order(server: LiveServer) -> None:
    sent = [{"data": encoded(picture(16 * (place + 1), 16)), "name": f"image{place:05}"} for place in range(3)]
    made = pictures(ask(server, "extra-batch-images", **SENT, imageList=sent))
    assert [one.size for one in made] == [(32, 32), (64, 32), (96, 32)]


def test_a_batch_without_an_upscaler_stays_as_it_is(server: LiveServer) -> None:
    sent = [{"data": encoded(picture(16, 16)), "name": "a"}]
    assert [one.size for one in pictures(ask(server, "extra-batch-images", imageList=sent))] == [(16, 16)]


def test_a_batch_is_sent_again_under_its_key(server: LiveServer) -> None:
    body = {**SENT, "imageList": [{"data": encoded(picture(place, 9)), "name": "x"} for place in (9, 10)]}
    locations = {
        server.client.post("/sdapi/v1/extra-batch-images", json=body, headers={"Idempotency-Key": "batch"}).headers["Location"]
        for _ in range(2)
    }
    assert len(locations) == 1


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (None, 422, "imageList: "),
        ([], 422, "imageList"),
        ([{"name": "a"}], 422, "imageList.0.data: "),
        ([{"data": encoded(picture()), "name": "a"}, {"data": "no picture", "name": "b"}], 500, "imageList.1.data: "),
        ([{"data": encoded(picture())}] * 65, 422, "imageList"),
        ("x", 422, "imageList"),
    ],
)
def test_of_a_batch_the_picture_that_is_wrong_is_named(server: LiveServer, sent: Any, status: int, said: str) -> None:
    got, errors = refused(server, "extra-batch-images", imageList=sent)
    assert (got, errors[: len(said)]) == (status, said)


def test_a_client_that_does_not_wait_is_told_so(server: LiveServer) -> None:
    body = {**SENT, "imageList": [{"data": encoded(picture()), "name": "a"}]}
    reply = server.client.post("/sdapi/v1/extra-batch-images", json=body, headers={"Prefer": "respond-async"})
    assert (reply.status_code, reply.headers["Preference-Applied"]) == (202, "respond-async")


# ---------------------------------------------------------------- interrogate, and what is loaded


def test_a_picture_is_told_in_words(server: LiveServer) -> None:
    reply = ask(server, "interrogate", image=f"data:image/png;base64,{encoded(picture(64, 64))}", model="clip")
    assert (reply.status_code, list(reply.json())) == (200, ["caption"]), reply.text
    assert reply.json()["caption"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"image": encoded(picture()), "model": "deepdanbooru"}, 404, "Model not found"),
        ({"model": "clip"}, 404, "Image not found"),
        ({"image": "no picture"}, 500, "Invalid encoded image"),
        ({"image": [7]}, 500, "Invalid encoded image"),
    ],
)
def test_what_can_not_be_told_is_refused_as_a1111_does(server: LiveServer, body: Any, status: int, detail: str) -> None:
    reply = ask(server, "interrogate", **body)
    assert reply.status_code == status, reply.text
    assert reply.json()["detail"].startswith(detail)


def test_a_model_is_unloaded_and_loaded_again(server: LiveServer) -> None:
    for path in ("reload-checkpoint", "unload-checkpoint", "unload-checkpoint", "reload-checkpoint"):
        reply = server.client.post(f"/sdapi/v1/{path}")
        assert (reply.status_code, reply.json()) == (200, {}), reply.text
