"""Image prompts in requests for pictures."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.images.ip_adapter.use import MOST_IMAGE_PROMPTS
from tests.images.test_img2img import as_base64, pixels, source
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
PROMPT: dict[str, Any] = {"prompt": "a lake", "seed": 5}


def photo(seed: int = 0, width: int = 60, height: int = 40) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def use(seed: int = 0, **fields: Any) -> dict[str, Any]:
    return {"image": as_base64(photo(seed)), **fields}


def make(server: LiveServer, *uses: dict[str, Any], **fields: Any) -> dict[str, Any]:
    job = server.client.post("/api/txt2img/", json={**PROMPT, "ip_adapter": list(uses), **fields}).json()
    assert job.get("status") == "succeeded", job.get("error", job)
    return job  # type: ignore[no-any-return]


def refusal(server: LiveServer, *uses: dict[str, Any], **fields: Any) -> tuple[str, str]:
    reply = server.client.post("/api/txt2img/", json={**PROMPT, "ip_adapter": list(uses), **fields})
    assert reply.status_code == 400, reply.text
    [error] = reply.json()["errors"]
    return error["field"], error["detail"]


# ---------------------------------------------------------------- what it does


def test_a_picture_changes_what_is_made_and_the_params_make_it_again(server: LiveServer) -> None:
    plain, prompted, other = make(server), make(server, use()), make(server, use(1))
    assert prompted["params"]["ip_adapter"][0]["model_id"] == "tiny-prompter"
    assert len({pixels(server, job).tobytes() for job in (plain, prompted, other)}) == 3
    again = server.client.post("/api/txt2img/", json=prompted["params"]).json()
    assert again["params"] == prompted["params"]
    assert np.array_equal(pixels(server, again), pixels(server, prompted))


def test_several_act_each_with_its_weight_and_its_adapter(server: LiveServer) -> None:
    made = [
        make(server, use(), use(1, weight=0.5)),
        make(server, use(), use(1, weight=1.5)),
        make(server, use(), use(1, weight=0.5, model_id="whole-prompter")),
    ]
    assert len({pixels(server, job).tobytes() for job in made}) == 3


def test_a_weight_of_0_changes_nothing_and_says_so(server: LiveServer) -> None:
    plain, idle = make(server, deterministic=True), make(server, use(weight=0), deterministic=True)
    assert np.array_equal(pixels(server, plain), pixels(server, idle))
    assert "ip_adapter[0] has the weight 0, and so no effect." in idle["warnings"]


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "source", "strength": 0.7},
        {"image": "source", "strength": 0.7, "mask": as_base64(Image.new("L", (64, 64), 255))},
        {"hires": {"scale": 2, "strength": 0.5}},
        {"control": [{"image": as_base64(Image.new("L", (64, 64), 255)), "kind": "canny"}]},
        {"loras": [{"id": "tiny-style"}]},
    ],
    ids=["img2img", "inpainting", "hires", "control", "lora"],
)
def test_it_goes_with_all_else_that_a_request_may_say(server: LiveServer, fields: dict[str, Any]) -> None:
    body = {**PROMPT, **fields} | ({"image": as_base64(source())} if "image" in fields else {})
    path = "/api/img2img/" if "image" in fields else "/api/txt2img/"
    plain, prompted = (server.client.post(path, json={**body, "ip_adapter": uses}).json() for uses in ([], [use()]))
    assert (plain["status"], prompted["status"]) == ("succeeded", "succeeded"), (plain, prompted)
    assert not np.array_equal(pixels(server, plain), pixels(server, prompted))


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
def test_a_picture_of_any_shape_is_read(server: LiveServer, size: tuple[int, int]) -> None:
    make(server, use(image=as_base64(Image.new("RGB", size, "red"))))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK"])
def test_a_picture_of_any_mode_is_read(server: LiveServer, mode: str) -> None:
    make(server, use(image=as_base64(photo().convert(mode), "JPEG" if mode == "CMYK" else "PNG")))


def test_the_history_links_the_picture_and_the_file_names_the_adapter(server: LiveServer) -> None:
    first = server.client.post("/api/images/", json={"image": as_base64(photo())}).json()["id"]
    job = make(server, {"image": first, "weight": 0.5})
    picture = server.client.get(f"/api/images/{job['result']['images'][0]['id']}/").json()
    assert picture["sources"] == [{"id": first, "role": "prompt"}]
    file = Image.open(io.BytesIO(server.client.get(picture["url"]).content))
    assert 'IP-Adapter 0: "Model: tiny-prompter, Weight: 0.5"' in file.text["parameters"]  # type: ignore[attr-defined]


def test_a_form_has_files_for_the_pictures_in_its_list(server: LiveServer) -> None:
    buffer = io.BytesIO()
    photo().save(buffer, "PNG")
    form = {"prompt": "a lake", "seed": "5", "ip_adapter": json.dumps([{"weight": 0.5}, use(1)])}
    files = {"ip_adapter_image_0": ("photo.png", buffer.getvalue(), "image/png")}
    job = server.client.post("/api/txt2img/", data=form, files=files).json()
    assert job["status"] == "succeeded", job
    assert np.array_equal(pixels(server, job), pixels(server, make(server, use(weight=0.5), use(1))))


def test_a_grid_varies_the_weight(server: LiveServer) -> None:
    axes = [{"field": "ip_adapter.0.weight", "values": [0, 0.5, 1]}]
    job = server.client.post("/api/grids/", json={"request": {**PROMPT, "ip_adapter": [use()]}, "axes": axes}).json()
    assert job["status"] == "succeeded", job
    made = {np.asarray(cell_pixels(server, cell["image"]["id"])).tobytes() for cell in job["result"]["cells"]}
    assert len(made) == 3


def cell_pixels(server: LiveServer, image: str) -> Image.Image:
    return Image.open(io.BytesIO(server.client.get(f"/api/images/{image}/file/").content))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"weight": 5}, "ip_adapter.0.weight", "2"),
        ({"weight": -1}, "ip_adapter.0.weight", "0"),
        ({"model_id": "nobody"}, "ip_adapter.0.model_id", "nobody"),
        ({"model_id": "tiny"}, "ip_adapter.0.model_id", "'tiny' is no IP-Adapter"),
        (
            {"model_id": "wide-prompter"},
            "ip_adapter.0.model_id",
            "'wide-prompter' is an IP-Adapter for SDXL, and Tiny is SD 1.x.",
        ),
        ({"model_id": "blind-prompter"}, "ip_adapter.0.model_id", "needs an image encoder that makes embeds-999"),
        ({"image": "01a1fc7f-d591-74fd-aa3e-b0b90dcc2aa8"}, "ip_adapter.0.image", "no image"),
        ({"image": "bm8gcGljdHVyZQ=="}, "ip_adapter.0.image", ""),
        ({"image": None}, "ip_adapter.0.image", ""),
        ({"start": 1}, "ip_adapter.0.start", "Unknown field"),
    ],
)
def test_what_cannot_be_is_an_error_of_its_field(server: LiveServer, fields: dict[str, Any], field: str, said: str) -> None:
    found, detail = refusal(server, use(**fields))
    assert found == field
    assert said in detail


def test_there_is_a_bound_to_image_prompts(server: LiveServer) -> None:
    assert refusal(server, *[use() for _ in range(MOST_IMAGE_PROMPTS + 1)])[0] == "ip_adapter"


def test_a_family_that_is_not_steered_is_named(server: LiveServer) -> None:
    field, detail = refusal(server, use(), model_id="flux.1-schnell")
    assert field == "ip_adapter"
    assert detail.startswith("FLUX.1 [schnell] is FLUX; only SD")


def test_networks_of_other_sizes_fail_and_name_both(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", json={**PROMPT, "ip_adapter": [use(model_id="narrow-prompter")]})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "ip_adapter_mismatch"
    assert "Narrow prompter is an IP-Adapter for networks of other sizes than Tiny" in reply.json()["error"]["detail"]
