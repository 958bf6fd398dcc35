"""Control maps in requests for pictures, and POST /api/preprocess/."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from api.images.control.use import MOST_CONTROLS, PREPROCESSORS
from tests.images.test_img2img import as_base64, pixels, source
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
PROMPT: dict[str, Any] = {"prompt": "a lake", "seed": 5}


def drawing(width: int = 64, height: int = 64) -> Image.Image:
    """A map: white strokes on black."""
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rectangle((width // 4, height // 4, 3 * width // 4, 3 * height // 4), outline=255, width=2)
    return image


def use(**fields: Any) -> dict[str, Any]:
    return {"image": as_base64(drawing()), "kind": "canny", **fields}


def make(server: LiveServer, *controls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    job = server.client.post("/api/txt2img/", json={**PROMPT, "control": list(controls), **fields}).json()
    assert job.get("status") == "succeeded", job
    return job  # type: ignore[no-any-return]


def refusal(server: LiveServer, *controls: dict[str, Any], **fields: Any) -> tuple[str, str]:
    reply = server.client.post("/api/txt2img/", json={**PROMPT, "control": list(controls), **fields})
    assert reply.status_code == 400, reply.text
    [error] = reply.json()["errors"]
    return error["field"], error["detail"]


def upload(server: LiveServer, image: Image.Image) -> str:
    return server.client.post("/api/images/", json={"image": as_base64(image)}).json()["id"]  # type: ignore[no-any-return]


# ---------------------------------------------------------------- what it does


def test_a_map_changes_the_picture_and_the_params_make_it_again(server: LiveServer) -> None:
    plain, steered = make(server), make(server, use())
    assert steered["params"]["control"][0]["model_id"] == "tiny-control"
    assert not np.array_equal(pixels(server, plain), pixels(server, steered))
    again = server.client.post("/api/txt2img/", json=steered["params"]).json()
    assert again["params"] == steered["params"]
    assert np.array_equal(pixels(server, again), pixels(server, steered))


def test_several_maps_act_each_with_its_weight_and_its_steps(server: LiveServer) -> None:
    made = [
        make(server, use(), use(kind="scribble", weight=0.5)),
        make(server, use(), use(kind="scribble", weight=1.5)),
        make(server, use(), use(kind="scribble", weight=0.5, end=0.4)),
    ]
    pictures = [pixels(server, job).tobytes() for job in made]
    assert len(set(pictures)) == 3


def test_a_preprocessor_makes_the_map_that_api_preprocess_makes(server: LiveServer) -> None:
    [picture] = server.client.post("/api/preprocess/", json={"image": as_base64(source()), "kind": "canny"}).json()["result"][
        "images"
    ]
    by_hand = make(server, {"image": picture["id"], "kind": "canny"})
    assert np.array_equal(
        pixels(server, by_hand), pixels(server, make(server, {"image": as_base64(source()), "preprocessor": "canny"}))
    )


def test_a_weight_of_0_or_a_window_without_a_step_changes_nothing_and_says_so(server: LiveServer) -> None:
    plain = pixels(server, make(server, deterministic=True))
    for fields, said in (
        ({"weight": 0}, "control[0] has the weight 0"),
        ({"start": 0.5, "end": 0.51}, "control[0] has no effect: none of the 3 steps"),
    ):
        job = make(server, use(**fields), deterministic=True)
        assert np.array_equal(pixels(server, job), plain)
        assert any(said in warning for warning in job["warnings"])


@pytest.mark.parametrize("shape", [(128, 128), (200, 50), (1, 1)])
def test_a_map_of_another_size_is_fitted_and_one_of_another_shape_is_told(server: LiveServer, shape: tuple[int, int]) -> None:
    job = make(server, use(image=as_base64(drawing(*shape) if shape != (1, 1) else Image.new("L", shape))))
    told = [warning for warning in job["warnings"] if "has another shape" in warning]
    assert len(told) == (shape == (200, 50))


@pytest.mark.parametrize("fields", [{"strength": 0.7}, {"strength": 0.7, "mask": as_base64(Image.new("L", (64, 64), 255))}])
def test_pictures_from_pictures_are_steered_too(server: LiveServer, fields: dict[str, Any]) -> None:
    body = {**PROMPT, "image": as_base64(source()), **fields}
    plain, steered = (
        server.client.post("/api/img2img/", json={**body, "control": control}).json() for control in ([], [use()])
    )
    assert not np.array_equal(pixels(server, plain), pixels(server, steered))


def test_the_history_links_the_map_and_the_file_names_it(server: LiveServer) -> None:
    first, second = upload(server, source()), upload(server, drawing())
    body = {**PROMPT, "image": first, "control": [{"image": second, "kind": "canny", "weight": 0.5}]}
    job = server.client.post("/api/img2img/", json=body).json()
    picture = server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()
    assert picture["sources"] == [{"id": first, "role": "image"}, {"id": second, "role": "control"}]
    file = Image.open(io.BytesIO(server.client.get(picture["url"]).content))
    assert 'ControlNet 0: "Module: none, Model: tiny-control, Weight: 0.5' in file.text["parameters"]


def test_a_form_has_files_for_the_pictures_in_its_list(server: LiveServer) -> None:
    buffer = io.BytesIO()
    drawing().save(buffer, "PNG")
    form = {"prompt": "a lake", "seed": "5", "control": json.dumps([{"kind": "scribble", "weight": 0.5}, use()])}
    files = {"control_image_0": ("edges.png", buffer.getvalue(), "image/png")}
    job = server.client.post("/api/txt2img/", data=form, files=files).json()
    assert job["status"] == "succeeded", job
    assert np.array_equal(pixels(server, job), pixels(server, make(server, use(kind="scribble", weight=0.5), use())))


@pytest.mark.parametrize(
    ("control", "part", "said"),
    [
        (None, "control_image_0", "There is no control[0]"),
        ([{"kind": "canny"}], "control_image_1", "There is no control[1]"),
        ([use()], "control_image_0", "control[0] has its `image` already"),
    ],
)
def test_a_file_without_its_place_in_the_list_is_refused(server: LiveServer, control: Any, part: str, said: str) -> None:
    form = {"prompt": "a lake"} | ({"control": json.dumps(control)} if control is not None else {})
    reply = server.client.post("/api/txt2img/", data=form, files={part: ("a.png", b"x", "image/png")})
    assert reply.status_code == 400
    [error] = reply.json()["errors"]
    assert error["field"] == part
    assert said in error["detail"]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"weight": 5}, "control.0.weight", "2"),
        ({"weight": -1}, "control.0.weight", "0"),
        ({"start": 0.7, "end": 0.3}, "control.0.end", "above `start`"),
        ({"start": 0.5, "end": 0.5}, "control.0.end", "above `start`"),
        ({"preprocessor": "canny"}, "control.0.preprocessor", "not both"),
        ({"kind": "depths"}, "control.0.kind", "depths"),
        ({"kind": None}, "control.0.model_id", "which ControlNet"),
        ({"kind": "depth"}, "control.0.model_id", "no ControlNet for depth maps and Tiny"),
        ({"model_id": "nobody"}, "control.0.model_id", "nobody"),
        ({"model_id": "tiny"}, "control.0.model_id", "'tiny' is no ControlNet"),
        ({"model_id": "wide-control"}, "control.0.model_id", "'wide-control' is a ControlNet for SDXL, and Tiny is SD 1.x."),
        ({"image": "01a1fc7f-d591-74fd-aa3e-b0b90dcc2aa8"}, "control.0.image", "no image"),
        ({"image": "bm8gcGljdHVyZQ=="}, "control.0.image", ""),
        ({"wait": 1}, "control.0.wait", "Unknown field"),
    ],
)
def test_what_cannot_be_is_an_error_of_its_field(server: LiveServer, fields: dict[str, Any], field: str, said: str) -> None:
    found, detail = refusal(server, use(**fields))
    assert found == field
    assert said in detail


def test_there_is_a_bound_to_maps(server: LiveServer) -> None:
    assert refusal(server, *[use() for _ in range(MOST_CONTROLS + 1)])[0] == "control"


def test_a_family_that_is_not_steered_is_named(server: LiveServer) -> None:
    field, detail = refusal(server, use(), model_id="qwen-image")
    assert field == "control"
    assert detail.startswith("Qwen-Image is Qwen-Image; only FLUX, SD")


def test_sd3_is_steered_without_a_source_picture_alone(server: LiveServer) -> None:
    body = {**PROMPT, "model_id": "stable-diffusion-3.5-medium", "control": [use()], "image": as_base64(source())}
    [error] = server.client.post("/api/img2img/", json=body).json()["errors"]
    assert (error["field"], "(POST /api/txt2img/)" in error["detail"]) == ("control", True)


def test_networks_of_other_sizes_fail_and_name_both(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", json={**PROMPT, "control": [use(model_id="narrow-control")]})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "control_mismatch"
    assert "Narrow control is a ControlNet for networks of other sizes than Tiny" in reply.json()["error"]["detail"]


# ---------------------------------------------------------------- POST /api/preprocess/


def preprocess(server: LiveServer, image: str, kind: str) -> Image.Image:
    job = server.client.post("/api/preprocess/", json={"image": image, "kind": kind}).json()
    assert job["status"] == "succeeded", job
    return Image.open(io.BytesIO(server.client.get(job["result"]["images"][0]["url"]).content))


@pytest.mark.parametrize("kind", PREPROCESSORS)
def test_each_map_has_the_pictures_size(server: LiveServer, kind: str) -> None:
    assert preprocess(server, as_base64(source().resize((50, 70))), kind).size == (50, 70)


def test_a_map_is_a_picture_of_the_history_with_its_source(server: LiveServer) -> None:
    first = upload(server, source())
    job = server.client.post("/api/preprocess/", json={"image": first, "kind": "lineart"}).json()
    picture = server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()
    assert (picture["origin"], picture["source"], picture["job"]) == ("preprocessed", first, job["id"])
    assert job["params"] == {"image": first, "kind": "lineart"}
    assert server.client.post("/api/preprocess/", json=job["params"]).status_code == 201


def converted(mode: str) -> Callable[[], tuple[Image.Image, str]]:
    return lambda: (source().convert(mode), "JPEG" if mode == "CMYK" else "PNG")


@pytest.mark.parametrize(
    "form",
    [
        *(converted(mode) for mode in ("RGBA", "P", "CMYK", "L")),
        lambda: (Image.fromarray(np.full((64, 64), 40_000, np.uint16)), "PNG"),
        lambda: (Image.new("RGB", (1, 1), "red"), "PNG"),
        lambda: (Image.new("RGB", (20_000, 10), "red"), "PNG"),
    ],
    ids=["RGBA", "palette", "CMYK", "grey", "16 bits", "1×1", "20000×10"],
)
@pytest.mark.parametrize("kind", ["canny", "scribble", "lines", "softedge", "colour"])
def test_pictures_of_all_forms_become_maps(server: LiveServer, form: Any, kind: str) -> None:
    image, name = form()
    assert preprocess(server, as_base64(image, name), kind).size == image.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_exif_turns_is_mapped_upright(server: LiveServer, orientation: int) -> None:
    image = source().resize((64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    made = server.client.post(
        "/api/preprocess/", files={"image": ("a.png", buffer.getvalue(), "image/png")}, data={"kind": "tile"}
    )
    width, height = (made.json()["result"]["images"][0][side] for side in ("width", "height"))
    assert (width, height) == ((32, 64) if orientation >= 5 else (64, 32))


def test_an_unknown_kind_is_named(server: LiveServer) -> None:
    reply = server.client.post("/api/preprocess/", json={"image": as_base64(source()), "kind": "depth"})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "kind")
