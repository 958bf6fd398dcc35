"""`hires` and `upscale` of requests for pictures, over HTTP and through a worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.files.models import StoredFile
from api.files.services import open_image, read_file
from api.images.metadata import infotext
from api.jobs.models import Job
from api.model_loader import ModelLoader
from tests.vision.conftest import ASYNC, encoded

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
TXT2IMG, IMG2IMG = "/api/txt2img/", "/api/img2img/"
SMALL = {"prompt": "a lake", "model_id": "starter", "width": 64, "height": 64, "steps": 2, "seed": 3}


@pytest.fixture(autouse=True)
def unscored(settings: Any) -> None:
    settings.PROMPT_SCORES = False


def pictures(job: Job) -> list[Image.Image]:
    assert job.status == "succeeded", job.error
    return [open_image(StoredFile.objects.get(pk=image["id"])) for image in job.result["images"]]


def sizes(job: Job) -> list[tuple[int, int]]:
    return [picture.size for picture in pictures(job)]


@pytest.mark.parametrize("upscaler", [None, "latent", "lanczos", "tiny-srvgg"])
def test_a_picture_with_a_second_pass_has_its_size(upscale: Callable[..., Job], upscaler: str | None) -> None:
    hires = {"scale": 1.5, "strength": 0.5, "steps": 2, "upscaler": upscaler}
    job = upscale(TXT2IMG, **SMALL, hires=hires)
    assert sizes(job) == [(96, 96)]
    assert job.params["hires"] == {**hires, "upscaler": upscaler or "lanczos"}
    assert job.progress["steps"] == 3


@pytest.mark.parametrize("deterministic", [False, True])
def test_each_kept_picture_is_enlarged_at_the_end(upscale: Callable[..., Job], deterministic: bool) -> None:
    job = upscale(TXT2IMG, **SMALL, num_images=2, deterministic=deterministic, upscale={"model_id": "tiny-rrdb", "scale": 3})
    assert sizes(job) == [(192, 192)] * 2
    assert job.timings["upscale"] > 0
    assert [(image["width"], image["height"]) for image in job.result["images"]] == [(192, 192)] * 2


def test_both_one_after_the_other(upscale: Callable[..., Job]) -> None:
    job = upscale(TXT2IMG, **SMALL, hires={"strength": 0.5}, upscale={"model_id": "lanczos"})
    assert sizes(job) == [(256, 256)]


def test_an_img2img_has_both_too(upscale: Callable[..., Job]) -> None:
    picture = encoded(Image.new("RGB", (64, 64), "red"))
    job = upscale(IMG2IMG, **SMALL, image=picture, strength=0.9, hires={"strength": 0.5}, upscale={"model_id": "lanczos"})
    assert sizes(job) == [(256, 256)]
    unchanged = upscale(IMG2IMG, **SMALL, image=picture, strength=0.1, hires={"strength": 0.5})
    assert sizes(unchanged) == [(64, 64)]
    assert "hires has no effect on a picture that is left as it was." in unchanged.warnings


def test_best_of_enlarges_the_kept_alone(upscale: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    from api.images.upscaling import enlarging

    calls = []
    plain = enlarging.enlarge
    monkeypatch.setattr(enlarging, "enlarge", lambda *given: (calls.append(1), plain(*given))[1])
    job = upscale(TXT2IMG, **SMALL, best_of=3, upscale={"model_id": "lanczos"})
    assert (sizes(job), len(calls)) == ([(128, 128)], 1)


def test_an_upscaler_that_can_not_be_used_fails_the_job_and_leaves_the_others(upscale: Callable[..., Job]) -> None:
    for fields in ({"upscale": {"model_id": "tiny-lacking"}}, {"hires": {"upscaler": "tiny-lacking", "strength": 0.5}}):
        job = upscale(TXT2IMG, **SMALL, **fields)
        assert (job.status, job.error["code"]) == ("failed", "broken_model")
        assert "conv_hr.bias" in job.error["detail"]
    assert sizes(upscale(TXT2IMG, **SMALL)) == [(64, 64)]


def test_null_is_not_given(upscale: Callable[..., Job]) -> None:
    job = upscale(TXT2IMG, **SMALL, hires=None, upscale=None)
    assert sizes(job) == [(64, 64)]
    assert not {"hires", "upscale"} & job.params.keys()


def test_the_params_of_a_job_are_a_request_for_the_same(upscale: Callable[..., Job], post: Callable[..., Any]) -> None:
    job = upscale(TXT2IMG, **SMALL, hires={"strength": 0.5}, upscale={"scale": 2, "model_id": "lanczos"})
    assert post(job.params, TXT2IMG).json()["params"] == job.params


def test_a_form_says_the_same_as_json_text(client: Client, loader: ModelLoader) -> None:
    form = {**SMALL, "hires": json.dumps({"scale": 2, "strength": 0.5}), "upscale": '{"model_id": "lanczos"}'}
    params = client.post(TXT2IMG, form, headers=ASYNC).json()["params"]
    assert params["hires"] == {"scale": 2.0, "strength": 0.5, "upscaler": "lanczos"}
    assert params["upscale"] == {"model_id": "lanczos", "scale": 2}


def test_the_file_says_it_as_a1111_does(upscale: Callable[..., Job]) -> None:
    job = upscale(TXT2IMG, **SMALL, hires={"strength": 0.5, "steps": 2, "upscaler": "latent"}, upscale={"model_id": "lanczos"})
    file = read_file(StoredFile.objects.get(pk=job.result["images"][0]["id"]))
    text = infotext({**job.params, "seed": 3}, 256, 256)
    assert "Size: 64x64" in text
    assert "Denoising strength: 0.5, Hires upscale: 2, Hires steps: 2, Hires upscaler: Latent" in text
    assert "Postprocess upscale by: 2, Postprocess upscaler: Lanczos" in text
    assert b"Hires upscaler: Latent" in file


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"hires": {"scale": 0.5}}, "hires.scale", "min_value"),
        ({"hires": {"scale": 4.5}}, "hires.scale", "max_value"),
        ({"hires": {"strength": 2}}, "hires.strength", "max_value"),
        ({"hires": {"strength": 0.01}}, "hires.strength", "no_steps"),
        ({"hires": {"steps": 0}}, "hires.steps", "min_value"),
        ({"hires": {"upscaler": "lanczo"}}, "hires.upscaler", "unknown_model"),
        ({"hires": {"upscaler": "starter"}}, "hires.upscaler", "wrong_task"),
        ({"hires": {"other": 1}}, "hires.other", "unknown_field"),
        ({"hires": 2}, "hires", "invalid"),
        ({"hires": {"scale": 4}, "width": 2048}, "hires.scale", "too_large"),
        ({"hires": {"steps": 60}, "scheduler": "lcm"}, "hires.steps", "too_many_steps"),
        ({"hires": {}, "model_id": "flux.1-schnell"}, "hires", "unsupported_family"),
        ({"upscale": {"scale": 5}}, "upscale.scale", "max_value"),
        ({"upscale": {"model_id": "starter"}}, "upscale.model_id", "wrong_task"),
        ({"upscale": {"scale": 4}, "width": 2048, "height": 2056}, "height", "max_value"),
        ({"upscale": {"scale": 4}, "hires": {"scale": 2}, "width": 2048, "height": 2048}, "upscale.scale", "too_large"),
        ({"upscale": {"scale": 4}, "hires": {"scale": 4}, "width": 1024, "height": 64, "output_format": "webp"},
         "output_format", "too_large"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_valid_is_a_400_that_names_the_field(
    post: Callable[..., Any], loader: ModelLoader, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = post({**SMALL, "steps": 20, **fields}, TXT2IMG)
    assert reply.status_code == 400, reply.content
    assert (field, code) in [(error["field"], error["code"]) for error in reply.json()["errors"]], reply.json()


def test_a_mask_and_a_second_pass_are_a_400(post: Callable[..., Any], loader: ModelLoader) -> None:
    picture = encoded(Image.new("RGB", (64, 64), "white"))
    [error] = post({**SMALL, "image": picture, "mask": picture, "hires": {}}, IMG2IMG).json()["errors"]
    assert (error["field"], error["code"]) == ("hires", "invalid")


@pytest.mark.parametrize("fields", [{"hires": {"strength": 0.9}}, {"upscale": {}}])
def test_hosted_models_do_neither(post: Callable[..., Any], loader: ModelLoader, settings: Any, fields: dict[str, Any]) -> None:
    settings.USE_LOCAL_MODELS = False
    reply = post({"prompt": "a lake", "model_id": "sdxl-base-1.0", **fields}, TXT2IMG)
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (next(iter(fields)), "not_remote")
