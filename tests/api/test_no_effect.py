"""What will have no effect is told with the job from its submission on, to a retry as well."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.jobs.models import Job
from tests.api.bodies import ASYNC, BODIES, png, text

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/api/txt2img/", {"prompt": "a (red:1.5) circle"}, "prompt has AUTOMATIC1111's notation"),
        ("/api/txt2img/", {"prompt": "a lake <lora:riso:1>"}, "<lora:riso:1>"),
        ("/api/txt2img/", {"negative_prompt": "((blurry))"}, "negative_prompt has AUTOMATIC1111's notation"),
        ("/api/txt2img/", {"prompt": "a [red] circle", "model_id": "flux.1-schnell"}, "[red]"),
        ("/api/txt2img/", {"negative_prompt": "x", "guidance_scale": 1}, "negative_prompt has no effect"),
        ("/api/txt2img/", {"negative_prompt": "x", "model_id": "z-image-turbo"}, "negative_prompt has no effect"),
        ("/api/txt2img/", {"rank_by": "layout"}, "rank_by has no effect without best_of"),
        ("/api/txt2img/", {"loras": [{"id": "riso", "weight": 0}]}, "'riso' has the weight 0"),
        ("/api/txt2img/", {"loras": [{"id": "riso", "unet": 0, "text": 0}]}, "'riso' has the weight 0"),
        (
            "/api/txt2img/",
            {"loras": [{"id": "riso", "weight": 0.5, "unet": 1, "text": 0}]},
            "`weight` has no effect with 'riso'",
        ),
        (
            "/api/txt2img/",
            {"loras": [{"id": "lcm-lora-sdxl"}], "model_id": "sdxl-base-1.0"},
            "'lcm-lora-sdxl' seems to be an LCM LoRA",
        ),
        ("/api/img2img/", {"strength": 0}, "less than one step"),
        ("/api/img2img/", {"strength": 0.1, "steps": 9}, "less than one step"),
        ("/api/img2img/", {"outpaint": {"left": 0}}, "outpaint has no effect: it grows no side"),
        ("/api/img2img/", {"inpaint_area": "mask"}, "inpaint_area has no effect without a mask"),
        ("/api/img2img/", {"mask_padding": 8}, "mask_padding has no effect without a mask"),
        ("/api/img2img/", {"mask_blur": 4}, "mask_blur has no effect without a mask"),
        ("/api/img2img/", {"mask_invert": True}, "mask_invert has no effect without a mask"),
        ("/api/img2img/", {"fill": "noise"}, "fill has no effect without a mask"),
        ("/api/img2img/", {"outpaint": {"left": 8}, "fit": "stretch"}, "fit has no effect: the picture keeps its own size"),
        ("/api/img2img/", {"outpaint": {"left": 8}, "mask_padding": 8}, "mask_padding has no effect without inpaint_area"),
        ("/api/img2img/", {"outpaint": {"left": 8}, "mask_invert": True}, "mask_invert has no effect without a mask"),
        ("/api/img2img/", {"outpaint": {"left": 8}, "fill": "blur"}, "fill 'blur' has no effect without a mask"),
        ("/api/img2img/", {"outpaint": {"left": 8}, "fill": "noise"}, "fill 'noise' has no effect at a strength of 1"),
        (
            "/api/img2img/",
            {"mask": text(png()), "strength": 1, "fill": "empty"},
            "fill 'empty' has no effect at a strength of 1",
        ),
        ("/api/txt2img/", {"variation": {"seed": 4, "strength": 0}, "num_images": 2}, "all 2 are the same"),
        ("/api/txt2img/", {"variation": {"seed": 4, "strength": 0}, "best_of": 3}, "all 3 are the same"),
        ("/api/txt2img/", {"variation": {"seed": 4, "strength": 1}}, "variation has no effect at a strength of 1"),
        ("/api/score/", {"image": None, "event_data": {"title": "a"}, "deep": True}, "deep has no effect"),
        (
            "/api/score/batch/",
            {"items": [{"event_data": {"title": "a"}}, {"event_data": {"title": "b"}, "deep": True}]},
            "Item 2: deep has no effect",
        ),
    ],
)
def test_it_is_told_at_once_and_to_a_retry(client: Client, send: Send, path: str, fields: dict[str, Any], said: str) -> None:
    job = send(path, {**BODIES[path](), **fields}).json()
    [warning] = job["warnings"]
    assert said in warning
    assert client.get(f"/api/jobs/{job['id']}/").json()["warnings"] == [warning]
    Job.objects.filter(pk=job["id"]).update(status="failed")
    assert client.post(f"/api/jobs/{job['id']}/retry/", headers=ASYNC).json()["warnings"] == [warning]


@pytest.mark.parametrize("path", BODIES)
def test_an_ordinary_request_has_no_warning(send: Send, path: str) -> None:
    if path.startswith("/api/") and "{" not in path:
        assert send(path, BODIES[path]()).json().get("warnings", []) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"negative_prompt": "x"},
        {"prompt": "a (red)++ house (old)"},
        {"best_of": 2, "rank_by": "clip"},
        {"variation": {"seed": 4, "strength": 0}},
    ],
)
def test_what_has_an_effect_has_no_warning(send: Send, fields: dict[str, Any]) -> None:
    assert send("/api/txt2img/", {"prompt": "a lake", **fields}).json()["warnings"] == []


@pytest.mark.parametrize("fields", [{"fill": "blur", "strength": 1}, {"fill": "noise", "strength": 0.5}, {"fill": "empty"}])
def test_a_fill_under_a_mask_has_an_effect(send: Send, fields: dict[str, Any]) -> None:
    body = {**BODIES["/api/img2img/"](), "mask": text(png()), **fields}
    assert send("/api/img2img/", body).json()["warnings"] == []
