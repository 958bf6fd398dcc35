"""A picture becomes another one."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.live import LiveServer

pytestmark = [pytest.mark.models]


def as_base64(image: Image.Image, format: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return base64.b64encode(buffer.getvalue()).decode()


def source() -> Image.Image:
    image = Image.new("RGB", (64, 64), "navy")
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill="orange")
    return image


def pixels(server: LiveServer, job: dict) -> np.ndarray:
    content = server.client.get(job["result"]["images"][0]["url"]).content
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float)


def test_strength_0_keeps_the_picture_and_says_so(server: LiveServer) -> None:
    job = server.client.post("/api/img2img/", json={"prompt": "a lake", "image": as_base64(source()), "strength": 0}).json()
    assert job["status"] == "succeeded", job
    assert np.array_equal(pixels(server, job), np.asarray(source(), float))
    assert job["warnings"]


def test_transparency_that_is_lost_is_told(server: LiveServer) -> None:
    told = []
    for alpha in (255, 90):
        image = source().convert("RGBA")
        image.putalpha(alpha)
        job = server.client.post("/api/img2img/", json={"prompt": "a lake", "image": as_base64(image), "steps": 2}).json()
        told.append(["transparency was laid on white" in warning for warning in job["warnings"]])
    assert told == [[], [True]]


def test_the_default_size_keeps_the_sources_shape(server: LiveServer) -> None:
    wide = as_base64(Image.new("RGB", (400, 100), "teal"), "JPEG")
    job = server.client.post("/api/img2img/", json={"prompt": "a lake", "image": f"data:image/jpeg;base64,{wide}"}).json()
    assert (job["params"]["width"], job["params"]["height"]) == (128, 64)


def test_a_generated_images_id_is_a_source_and_the_history_links_them(server: LiveServer) -> None:
    first = server.client.post("/api/txt2img/", json={"prompt": "a lake"}).json()["result"]["images"][0]["id"]
    job = server.client.post("/api/img2img/", json={"prompt": "a sea", "image": first, "strength": 0.7}).json()
    made = server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()
    assert made["source"] == first


def test_a_mask_leaves_what_is_black_as_it_was(server: LiveServer) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (32, 0, 64, 64))
    body = {"prompt": "a sea", "image": as_base64(source()), "mask": as_base64(mask), "strength": 1.0}
    job = server.client.post("/api/img2img/", json=body).json()
    assert job["status"] == "succeeded", job
    made, before = pixels(server, job), np.asarray(source(), float)
    assert np.array_equal(made[:, :28], before[:, :28])
    assert not np.array_equal(made[:, 36:], before[:, 36:])


def test_a_black_mask_leaves_the_picture_as_it_is_and_says_so(server: LiveServer) -> None:
    body = {"prompt": "a sea", "image": as_base64(source()), "mask": as_base64(Image.new("L", (64, 64), 0)), "strength": 1.0}
    job = server.client.post("/api/img2img/", json=body).json()
    assert job["status"] == "succeeded", job
    assert np.array_equal(pixels(server, job), np.asarray(source(), float))
    assert "The mask paints nothing" in job["warnings"][0]
    assert "denoise" not in job["timings"]


def test_a_black_stroke_on_transparency_is_painted(server: LiveServer) -> None:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (32, 0, 64, 64))
    body = {"prompt": "a sea", "image": as_base64(source()), "mask": as_base64(mask), "strength": 1.0}
    job = server.client.post("/api/img2img/", json=body).json()
    assert job["status"] == "succeeded", job
    made, before = pixels(server, job), np.asarray(source(), float)
    assert np.array_equal(made[:, :28], before[:, :28])
    assert not np.array_equal(made[:, 36:], before[:, 36:])


def test_a_multipart_upload_works_like_base64(server: LiveServer) -> None:
    buffer = io.BytesIO()
    source().save(buffer, "PNG")
    reply = server.client.post(
        "/api/img2img/",
        data={"prompt": "a lake", "strength": "0"},
        files={"image": ("../../etc/passwd", buffer.getvalue(), "image/png")},
    )
    assert reply.status_code == 201, reply.text
    assert np.array_equal(pixels(server, reply.json()), np.asarray(source(), float))


def test_an_id_that_is_not_here_names_the_field(server: LiveServer) -> None:
    reply = server.client.post("/api/img2img/", json={"prompt": "a lake", "image": "01a1fc7f-d591-74fd-aa3e-b0b90dcc2aa8"})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == "image"


def test_a_jobs_params_posted_again_give_the_same_picture_and_the_same_warnings(server: LiveServer) -> None:
    body = {"prompt": "a (red:1.5) sea", "image": as_base64(source()), "strength": 0.7, "deterministic": True}
    first = server.client.post("/api/img2img/", json=body).json()
    again = server.client.post("/api/img2img/", json=first["params"]).json()
    assert (again["status"], again["params"]) == ("succeeded", first["params"])
    assert np.array_equal(pixels(server, again), pixels(server, first))
    assert [warning.split(",")[0] for warning in first["warnings"]] == ["prompt has AUTOMATIC1111's notation"]
    assert again["warnings"] == first["warnings"]


def test_a_lora_in_a_form_changes_the_picture(server: LiveServer) -> None:
    form = {"prompt": "a sea", "seed": "1", "loras": '[{"id": "tiny-style", "weight": 2}]', "tags": '["a", "b"]'}
    file = {"image": ("a.png", base64.b64decode(as_base64(source())))}
    with_it = server.client.post("/api/img2img/", data=form, files=file).json()
    without = server.client.post("/api/img2img/", data={**form, "loras": "[]"}, files=file).json()
    assert (with_it["params"]["loras"], with_it["params"]["tags"]) == ([{"id": "tiny-style", "weight": 2.0}], ["a", "b"])
    assert not np.array_equal(pixels(server, with_it), pixels(server, without))


# -- In the picture's own size ---------------------------------------------------------------------------------------------------


def test_an_outpainted_png_has_the_source_s_pixels_bit_for_bit(server: LiveServer) -> None:
    body = {"prompt": "a sea", "image": as_base64(source()), "outpaint": {"left": 24, "bottom": 9}}
    job = server.client.post("/api/img2img/", json=body).json()
    assert job["status"] == "succeeded", job
    made = pixels(server, job)
    assert made.shape == (73, 88, 3)
    assert np.array_equal(made[:64, 24:], np.asarray(source(), float))


def test_around_a_mask_a_png_keeps_the_picture_s_size_and_its_pixels_bit_for_bit(server: LiveServer) -> None:
    picture = Image.effect_noise((301, 203), 90).convert("RGB")
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((200, 50, 240, 90), fill=255)
    files = {name: (name, base64.b64decode(as_base64(one))) for name, one in (("image", picture), ("mask", mask))}
    form = {"prompt": "a sea", "inpaint_area": "mask", "mask_padding": "16", "fill": "noise", "strength": "0.9"}
    job = server.client.post("/api/img2img/", data=form, files=files).json()
    assert job["status"] == "succeeded", job
    made, outside = pixels(server, job), np.asarray(mask) == 0
    assert made.shape == (203, 301, 3)
    assert np.array_equal(made[outside], np.asarray(picture, float)[outside])
    assert not np.array_equal(made[~outside], np.asarray(picture, float)[~outside])
    [image] = job["result"]["images"]
    assert (image["width"], image["height"]) == (301, 203)


def test_a_picture_is_varied_by_its_id_alone(server: LiveServer) -> None:
    first = server.client.post("/api/txt2img/", json={"prompt": "a lake", "seed": 3}).json()["result"]["images"][0]["id"]
    body = {"variation": {"image": first, "strength": 0.3}}
    job = server.client.post("/api/txt2img/", json=body).json()
    assert job["status"] == "succeeded", job
    made = server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()
    assert (made["prompt"], made["source"], made["parameters"]["variation"]["seed"]) == ("a lake", first, 3)
    assert [one["id"] for one in server.client.get("/api/images/", params={"source": first}).json()["results"]] == [made["id"]]
