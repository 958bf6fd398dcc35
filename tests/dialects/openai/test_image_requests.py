"""What OpenAI's image requests come to in our jobs, and how they are refused. No worker: the jobs are not run."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.access.services import create_key
from api.dialects.openai.images import sources
from api.dialects.openai.images.fields import CUT_OUT
from api.files import services
from api.files.decoding import decode_image
from api.files.models import StoredFile
from api.files.services import open_image
from api.images.metadata import encode_image
from api.jobs.models import Job
from tests.dialects.openai.conftest import blue, mask, to_png
from tests.dialects.openai.image_requests import EDITS, GENERATIONS, VARIATIONS, Send, error_of, params_of, upload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media")]


# ---------------------------------------------------------------- generations


def test_openais_fields_come_to_ours(send: Send) -> None:
    reply = send(
        GENERATIONS, model="dall-e-2", prompt="a lake", n=3, size="128x96", output_format="webp", output_compression=40,
        user="u-1", moderation="low", background="opaque", response_format="b64_json",
    )  # fmt: skip
    asked = {"prompt": "a lake", "num_images": 3, "width": 128, "height": 96, "output_format": "webp", "output_quality": 40}
    assert params_of(reply).items() >= {**asked, "model_id": "starter"}.items()
    assert (reply.json()["kind"], reply.json()["source"]) == ("txt2img", "openai")


def test_ours_stand_beside_them(send: Send) -> None:
    ours = {"negative_prompt": "blurry", "steps": 7, "guidance_scale": 3.0, "seed": 9, "best_of": 4, "tags": ["a"]}
    assert params_of(send(GENERATIONS, prompt="a lake", scheduler="euler", **ours)).items() >= ours.items()


@pytest.mark.parametrize("name", ["dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini", "chatgpt-image-latest", "", None])
def test_the_models_that_clients_have_built_in_mean_the_default(send: Send, name: str | None) -> None:
    assert params_of(send(GENERATIONS, prompt="a lake", model=name))["model_id"] == "starter"


def test_a_model_of_ours_is_taken_by_its_name(send: Send) -> None:
    assert params_of(send(GENERATIONS, prompt="a lake", model="dreamshaper-8"))["model_id"] == "dreamshaper-8"


@pytest.mark.parametrize(
    ("quality", "factor"), [("low", 0.5), ("auto", 1), ("medium", 1), ("standard", 1), ("high", 1.5), ("hd", 1.5), ("max", 3)]
)
def test_a_quality_is_a_number_of_steps(send: Send, quality: str, factor: float) -> None:
    usual = params_of(send(GENERATIONS, prompt="a lake"))["steps"]
    assert params_of(send(GENERATIONS, prompt="a lake", quality=quality))["steps"] == -(-usual * factor // 1)
    assert params_of(send(GENERATIONS, prompt="a lake", quality=quality, steps=5))["steps"] == 5


def test_a_size_is_the_models_own_where_none_is_said(send: Send) -> None:
    usual = params_of(send(GENERATIONS, prompt="a lake"))
    for size in ("auto", "", None):
        asked = params_of(send(GENERATIONS, prompt="a lake", size=size))
        assert (asked["width"], asked["height"]) == (usual["width"], usual["height"])


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "a"}, {"safety_identifier": "a"}, {"background": "auto"}, {"moderation": "auto"}, {"quality": "standard"},
        {"stream": False}, {"stream": None}, {"partial_images": 0}, {"output_compression": 100}, {"n": 1}, {"size": "auto"},
        {"a_field_of_tomorrow": None}, {"svg": None}, {"style": None}, {"response_format": None}, {"input_fidelity": "low"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_asks_for_nothing_changes_nothing(send: Send, fields: dict[str, Any]) -> None:
    assert params_of(send(GENERATIONS, prompt="a lake", seed=1, **fields)) == params_of(
        send(GENERATIONS, prompt="a lake", seed=1)
    )


def test_a_transparent_background_is_a_cutout_and_said_so(send: Send, settings: Any) -> None:
    reply = send(GENERATIONS, prompt="a lake", background="transparent")
    assert params_of(reply)["cutout"] == {"model_id": "starter-cutout"}
    assert reply.json()["warnings"] == [CUT_OUT]
    params = params_of(send(GENERATIONS, prompt="a lake", background="opaque"))
    assert "cutout" not in params
    settings.USE_LOCAL_MODELS = False
    settings.HF_INFERENCE_ENDPOINT = "http://far/"
    assert error_of(send(GENERATIONS, prompt="a lake", background="transparent"))["param"] == "background"
    assert error_of(send(GENERATIONS, prompt="a lake", cutout={}))["param"] == "cutout"


def test_what_has_no_effect_is_said(send: Send) -> None:
    assert "style has no effect" in send(GENERATIONS, prompt="a lake", style="vivid").json()["warnings"][0]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"), ({"prompt": None}, "prompt"), ({"prompt": 5 * ["x"]}, "prompt"), ({"prompt": "x" * 2001}, "prompt"),
        ({"n": 0}, "n"), ({"n": 11}, "n"), ({"n": "many"}, "n"), ({"n": True}, "n"), ({"n": 1.5}, "n"),
        ({"size": "65x64"}, "size"), ({"size": "32x64"}, "size"), ({"size": "64x4096"}, "size"), ({"size": "large"}, "size"),
        ({"size": "64"}, "size"), ({"size": "-64x64"}, "size"), ({"size": 64}, "size"), ({"size": "999999999x64"}, "size"),
        ({"size": "100x100"}, "size"), ({"size": ["64x64"]}, "size"), ({"quality": "best"}, "quality"), ({"style": "baroque"}, "style"),
        ({"background": "transparent", "output_format": "jpeg"}, "output_format"),
        ({"background": "red"}, "background"), ({"moderation": "none"}, "moderation"),
        ({"output_format": "gif"}, "output_format"), ({"output_compression": 101}, "output_compression"),
        ({"output_compression": 50}, "output_compression"), ({"response_format": "hex"}, "response_format"),
        ({"stream": "perhaps"}, "stream"), ({"partial_images": 4}, "partial_images"), ({"model": "starter-vlm"}, "model"),
        ({"steps": 0}, "steps"), ({"seed": -1}, "seed"), ({"loras": [{"id": "nothing"}]}, "loras[0].id"),
        ({"scheduler": ["euler"]}, "scheduler"),
        ({"stpes": 4}, "stpes"), ({"model_id": "starter"}, "model_id"), ({"num_images": 2}, "num_images"), ({"svg": {"model": "x"}}, "svg"),
        ({"frame_count": 4}, "frame_count"), ({"image": "x"}, "image"), ({"scheduler": "x"}, "scheduler"),
        ({"model": ["starter"]}, "model"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_openais_name_of_it(send: Send, fields: dict[str, Any], param: str) -> None:
    reply = send(GENERATIONS, **{"prompt": "a lake", **fields})
    error = error_of(reply)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"].startswith(param)
    assert reply["x-should-retry"] == "false"
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_a_model_that_nobody_knows_is_not_found(send: Send, path: str) -> None:
    extra = {} if path == GENERATIONS else {"image": base64.b64encode(blue()).decode()}
    error = error_of(send(path, prompt="a lake", model="no-such-model", **extra), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("body", ["", "[]", "5", "null", '"x"', "{", '{"prompt": "a", "prompt": 1', "\xff", "NaN"])
@pytest.mark.parametrize("path", [GENERATIONS, EDITS, VARIATIONS, "/v1/detection"])
def test_a_body_that_is_no_object_is_refused_in_openais_form(client: Client, path: str, body: str) -> None:
    error_of(client.post(path, body, content_type="application/json"))


def test_a_body_without_a_content_type_is_json(client: Client) -> None:
    reply = client.generic("POST", GENERATIONS, '{"prompt": "a lake"}', content_type="", headers={"Prefer": "respond-async"})
    assert params_of(reply)["prompt"] == "a lake"


# ---------------------------------------------------------------- edits and variations


def white_of(file_id: str) -> Image.Image:
    return open_image(StoredFile.objects.get(pk=file_id), "L")


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]"])
def test_a_form_names_its_picture_in_any_of_the_clients_ways(send_form: Send, name: str) -> None:
    params = params_of(send_form(EDITS, **{name: upload(blue())}, prompt="a lake", n="2", size="64x64", stream="false"))
    assert (params["num_images"], params["width"]) == (2, 64)
    assert open_image(StoredFile.objects.get(pk=params["image"])).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    "picture",
    [
        lambda data: data,
        lambda data: [data],
        lambda data: f"data:image/png;base64,{data}",
        lambda data: {"image_url": f"data:image/png;base64,{data}"},
        lambda data: [{"image_url": {"url": data}}],
    ],
)
@pytest.mark.parametrize("name", ["image", "images"])
def test_json_has_a_picture_in_any_of_openais_ways(send: Send, picture: Any, name: str) -> None:
    sent = picture(base64.b64encode(blue()).decode())
    assert params_of(send(EDITS, prompt="a lake", **{name: sent}))["strength"] == 0.6


def test_what_is_transparent_in_a_mask_is_painted_anew(send_form: Send) -> None:
    params = params_of(send_form(EDITS, image=upload(blue()), mask=upload(mask()), prompt="a lake"))
    painted = white_of(params["mask"])
    assert (painted.getpixel((0, 0)), painted.getpixel((32, 32)), params["strength"]) == (0, 255, 1.0)


def test_a_picture_may_bring_its_mask_in_its_transparency_as_dall_e_2_reads_it(send_form: Send) -> None:
    reply = send_form(EDITS, image=upload(mask()), prompt="a lake")
    assert white_of(params_of(reply)["mask"]).getpixel((32, 32)) == 255
    assert "transparent parts" in reply.json()["warnings"][0]
    assert "mask" not in params_of(send_form(EDITS, image=upload(mask()), prompt="a lake", model="gpt-image-1"))


def test_an_opaque_picture_is_decoded_once(send_form: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def counted(data: bytes, *mode: Any) -> Image.Image:
        decoded.append(data)
        return decode_image(data, *mode)

    monkeypatch.setattr(services, "decode_image", counted)
    monkeypatch.setattr(sources, "decode_image", counted)
    assert "mask" not in params_of(send_form(EDITS, image=upload(blue()), prompt="a lake"))
    assert decoded == [blue()]


def test_a_higher_fidelity_keeps_more_of_the_picture(send_form: Send) -> None:
    low, high = (
        params_of(send_form(EDITS, image=upload(blue()), prompt="a lake", input_fidelity=fidelity))["strength"]
        for fidelity in ("low", "high")
    )
    assert high < low
    exact = send_form(EDITS, image=upload(blue()), prompt="a lake", input_fidelity="high", strength="0.9")
    assert params_of(exact)["strength"] == 0.9


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": b"no picture"}, "image"),
        ({"image": [blue(), blue()]}, "image"),
        ({"image": blue(), "mask": mask(32)}, "mask"),
        ({"image": blue(), "mask": blue()}, "mask"),
        ({"image": blue(), "mask": b"no picture"}, "mask"),
        ({"image": blue(), "prompt": ""}, "prompt"),
        ({"image": blue(), "n": "0"}, "n"),
        ({"image": blue(), "size": "10x10"}, "size"),
        ({"image": blue(), "input_fidelity": "all"}, "input_fidelity"),
        ({"image": blue(), "strength": "2"}, "strength"),
        ({"image": blue(), "colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_an_edit_that_cannot_be_made_is_refused_by_openais_name_of_it(send_form: Send, fields: Any, param: str) -> None:
    sent = {name: as_files(value) for name, value in {"prompt": "a lake", **fields}.items()}
    assert error_of(send_form(EDITS, **sent))["param"] == param
    assert not Job.objects.exists()


def as_files(value: Any) -> Any:
    if isinstance(value, list):
        return [upload(data) for data in value]
    return upload(value) if isinstance(value, bytes) else value


def test_another_owners_picture_is_not_found(send: Send, client: Client) -> None:
    image = client.post("/api/images/", {"image": base64.b64encode(blue()).decode()}, content_type="application/json").json()[
        "id"
    ]
    assert params_of(send(EDITS, prompt="a lake", image=image))["image"] == image
    _, token = create_key(name="another")
    reply = send(EDITS, prompt="a lake", image=image, headers={"Authorization": f"Bearer {token}"})
    assert error_of(reply)["param"] == "image"
    reply = send(
        EDITS,
        prompt="a lake",
        image=base64.b64encode(blue()).decode(),
        mask=image,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert error_of(reply)["param"] == "mask"


def test_a_variation_takes_the_prompt_that_the_pictures_file_carries(send_form: Send) -> None:
    carried = encode_image(Image.new("RGB", (64, 64)), "png", {"prompt": "a red circle", "negative_prompt": "blue"}, warn=print)
    params = params_of(send_form(VARIATIONS, image=upload(carried), n="2"))
    assert (params["prompt"], params["negative_prompt"], params["num_images"]) == ("a red circle", "blue", 2)


def test_a_variation_of_any_other_picture_says_what_it_went_by(send_form: Send) -> None:
    reply = send_form(VARIATIONS, image=upload(blue()))
    assert params_of(reply)["prompt"] == "a picture"
    assert "names no prompt" in reply.json()["warnings"][0]
    assert params_of(send_form(VARIATIONS, image=upload(blue()), prompt="a lake"))["prompt"] == "a lake"


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"stream": "true"}, "stream"), ({"mask": b"x"}, "mask"), ({"n": "11"}, "n"), ({"quality": "high"}, "quality")],
    ids=str,
)
def test_a_variation_knows_fewer_fields(send_form: Send, fields: dict[str, Any], param: str) -> None:
    sent = {name: as_files(value) for name, value in fields.items()}
    assert error_of(send_form(VARIATIONS, image=upload(blue()), **sent))["param"] == param


# ---------------------------------------------------------------- LocalAI's detection


def test_localais_detection_is_a_detection_here(send: Send) -> None:
    reply = send("/v1/detection", model="rfdetr-base", image=base64.b64encode(blue()).decode(), points=[], boxes=None)
    assert params_of(reply).items() >= {"model_id": "starter-detector", "threshold": 0.5, "classes": None}.items()
    assert (reply.json()["kind"], reply.json()["source"]) == ("detect", "localai")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"image": ""}, "image"),
        ({"threshold": 2}, "threshold"),
        ({"model": "starter"}, "model"),
        ({"points": [1, 2, 1]}, "points"),
        ({"boxes": [1, 2, 3, 4]}, "boxes"),
        ({"shape": 1}, "shape"),
        ({"prompt": "x" * 301}, "prompt[0]"),
    ],
    ids=str,
)
def test_a_detection_that_cannot_be_made_is_refused_by_its_name(send: Send, fields: dict[str, Any], param: str) -> None:
    body = {"image": base64.b64encode(blue()).decode(), **fields}
    assert error_of(send("/v1/detection", **body))["param"] == param


def test_a_picture_that_is_here_may_be_a_mask(client: Client, send: Send) -> None:
    kept = client.post("/api/images/", {"image": base64.b64encode(mask()).decode()}, content_type="application/json").json()[
        "id"
    ]
    params = params_of(send(EDITS, prompt="a lake", image=base64.b64encode(blue()).decode(), mask=kept))
    assert white_of(params["mask"]).getpixel((32, 32)) == 255


def test_the_quality_of_a_file_makes_it_smaller(tmp_path: Path) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    sizes = [len(encode_image(noise, "jpeg", None, print, quality)) for quality in (10, None, 100)]
    assert sizes == sorted(sizes)
    assert Image.open(io.BytesIO(to_png(noise))).size == (64, 64)


# ---------------------------------------------------------------- nothing is dropped in silence


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("mask", {"url": "x"}, "unknown_field"),
        ("mask", {"image_url": {"uri": "x"}}, "unknown_field"),
        ("mask", {"image_url": "x", "file_id": "y"}, "repeated"),
        ("images", [{"url": "x"}], "unknown_field"),
    ],
)
def test_an_object_that_names_no_picture_is_refused(send: Send, field: str, value: Any, code: str) -> None:
    picture = base64.b64encode(blue()).decode()
    pictures = {"images": [{"image_url": {"url": f"data:image/png;base64,{picture}", "detail": "auto"}}]}
    error = error_of(send(EDITS, prompt="a", **{**pictures, field: value}))
    assert (error["param"].partition(".")[0], error["code"]) == (field, code)


@pytest.mark.parametrize(
    ("path", "fields", "warning"),
    [
        (GENERATIONS, {"partial_images": 2}, "partial_images has no effect without stream."),
        (GENERATIONS, {"quality": "high", "steps": 4}, "quality has no effect beside steps."),
        (EDITS, {"input_fidelity": "high", "strength": 0.5}, "input_fidelity has no effect beside strength."),
    ],
)
def test_what_counts_for_nothing_beside_another_field_is_said(
    send: Send, path: str, fields: dict[str, Any], warning: str
) -> None:
    picture = {"image": base64.b64encode(blue()).decode()} if path == EDITS else {}
    reply = send(path, prompt="a", **picture, **fields)
    assert reply.status_code == 202, reply.content
    assert warning in reply.json()["warnings"]
    reply = send(path, prompt="a", **picture, **dict(list(fields.items())[1:]))
    assert reply.json()["warnings"] == []


def test_one_text_that_is_two_fields_of_ours_is_told_once(send: Send) -> None:
    error = error_of(send(GENERATIONS, prompt="a", size="0x0"))
    assert (error["param"], error["message"].count("64")) == ("size", 1)


def test_an_empty_prompt_is_taken_where_it_is_meant(send: Send) -> None:
    assert params_of(send(GENERATIONS, prompt="", lenient_prompts=True))["prompt"] == ""
    assert error_of(send(GENERATIONS, prompt="", lenient_prompts=False))["code"] == "blank"
    assert error_of(send(GENERATIONS, prompt="", lenient_prompts=["x"]))["param"] == "prompt"
