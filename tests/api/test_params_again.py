"""What comes out goes in again: a job's own params, posted to the same address, are a valid request for the same result."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.api.bodies import BODIES, HUGGING_FACE, VLM, address, png, stored, text
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]
BOX = {"kind": "title", "x": 1.5, "y": 2, "w": 9, "h": 9}
TXT2IMG = {
    "prompt": " a lake ",
    "negative_prompt": "rain",
    "model_id": "dreamshaper-8",
    "num_images": 2,
    "best_of": 3,
    "rank_by": {"clip": 1, "layout": 2},
    "scheduler": "euler_a",
    "clip_skip": 1,
    "output_format": "webp",
    "tags": ["a", "b"],
    "deterministic": True,
    "guidance_scale": 3,
    "width": 512,
}
FULL: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("/api/txt2img/", lambda: TXT2IMG),
    ("/api/txt2img/", lambda: {"prompt": "a", "loras": [{"id": "riso"}], "rank_by": "clip", "seed": 2**53 - 1}),
    ("/api/txt2img/", lambda: {"prompt": "a", "loras": [{"id": "riso", "weight": 0.5, "unet": -1, "text": 0}]}),
    ("/api/txt2img/", lambda: {"prompt": "a", "loras": [{"id": "riso", "text": 0.25}]}),
    ("/api/txt2img/", lambda: {"prompt": "a (red:1.2) lake <lora:riso:0.5:1>", "prompt_syntax": "a1111"}),
    ("/api/txt2img/", lambda: {"prompt": "a (red:1.2) lake", "prompt_syntax": "auto"}),
    ("/api/txt2img/", lambda: {"prompt": "", "lenient_prompts": True}),
    ("/api/img2img/", lambda: {"prompt": " ", "lenient_prompts": True, "image": text(png(1))}),
    ("/api/txt2img/", lambda: {"prompt": "<lora:nowhere:1>", "lenient_prompts": True, "prompt_syntax": "a1111"}),
    ("/api/txt2img/", lambda: {"prompt": "a", "hires": {"strength": 0.5, "steps": 20}, "upscale": {"scale": 4}}),
    ("/api/upscale/", lambda: {"image": text(png()), "model_id": "lanczos", "scale": 3, "output_format": "webp"}),
    ("/api/img2img/", lambda: {**TXT2IMG, "image": text(png(1)), "mask": text(png(2)), "strength": 0.5}),
    ("/api/img2img/", lambda: {**PAINTING, "outpaint": {"left": 8, "top": 3}}),
    ("/api/img2img/", lambda: {"prompt": "a", "image": text(png(1)), "outpaint": {"right": 5}}),
    ("/api/txt2img/", lambda: {"prompt": "a", "variation": {"seed": 4, "strength": 0.5}}),
    ("/api/txt2img/", lambda: {"variation": {"image": str(made_here().pk), "strength": 0.5}}),
    ("/api/score/", lambda: {"image": text(png()), "elements": [BOX], "event_data": {"title": "x"}, "deep": True}),
    ("/api/score/", lambda: {"image": text(png()), "backend": "nima"}),
    ("/api/score/", lambda: {"variant": {"gradient": "bg-blue-600"}}),
    ("/api/score/batch/", lambda: {"items": [{"image": text(png())}, {"event_data": {"title": "x"}}]}),
    ("/api/clip-score/", lambda: {"images": [text(png(1)), text(png(2))], "prompts": ["a", "b"], "pairs": True}),
    ("/api/hazards/", lambda: {"image": text(png()), "threshold": 0.6, "annotate": True}),
    ("/api/detect/", lambda: {"image": text(png()), "threshold": 0.5, "iou": 0.3, "classes": ["circle"], "annotate": True}),
    ("/api/ocr/", lambda: {"image": text(png()), "languages": ["de", "en"], "min_score": 0.5, "annotate": True}),
    ("/v1/chat/completions", lambda: full_chat()),
    ("/v1/completions", lambda: {"prompt": ["a", "b"], "model": VLM, "n": 2, "echo": True, "logit_bias": {"7": -1}, "seed": 1}),
    ("/v1/embeddings", lambda: {"input": [text(png(1)), {"image": text(png(2))}], "dimensions": 7, "user": "al"}),
]


PAINTING = {
    "prompt": "a",
    "image": text(png(1)),
    "mask": text(png(2)),
    "mask_invert": True,
    "mask_blur": 2.5,
    "inpaint_area": "mask",
    "mask_padding": 8,
    "fill": "noise",
    "fit": "contain",
}


def made_here() -> GeneratedImage:
    return make_picture(parameters={"prompt": "a lake", "steps": 5, "seed": 42, "num_images": 3})


def full_chat() -> dict[str, Any]:
    picture = {"type": "image_url", "image_url": {"url": f"darkroom://images/{stored(4).pk}", "detail": "high"}}
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "Noise."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    return {
        "model": VLM,
        "messages": messages,
        "temperature": 0.5,
        "stop": "x",
        "n": 2,
        "max_tokens": 9,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": schema,
        "metadata": {"a": "b"},
        "truncation": "auto",
        "backend": "pytorch",
    }


NO_JOBS = (
    "/api/conversations/{id}/branch/",
    "/api/ratings/", "/api/comparisons/", "/api/images/", "/api/images/{id}/", "/api/prompt/", "/api/png-info/",
    "/api/drains/", "/api/grids/estimate/", *HUGGING_FACE,  # whose jobs' params are for our own addresses
)  # fmt: skip
OTHER_WORDS = (
    *("/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/detection"),
    *("/v1/responses", "/v1/responses/input_tokens"),
)
"""Their jobs' params are in our words: a request for /api/txt2img/, /api/img2img/, /api/detect/, or a chat completion."""
LEFT_OUT = (*NO_JOBS, *OTHER_WORDS)
CASES = [(path, body) for path, body in BODIES.items() if path not in LEFT_OUT and not path.startswith("/api/presets/")]


@pytest.mark.parametrize(("path", "body"), [*CASES, *FULL], ids=[path for path, _ in [*CASES, *FULL]])
def test_a_jobs_params_are_a_request_for_the_same_job(send: Send, path: str, body: Callable[[], dict[str, Any]]) -> None:
    first = send(address(path), body())
    assert first.status_code == 202, first.content
    again = send(address(path), first.json()["params"])
    assert again.status_code == 202, again.content
    assert again.json()["params"] == first.json()["params"]
    one, other = (Job.objects.get(pk=reply.json()["id"]) for reply in (first, again))
    assert (one.params, one.model_id, one.kind, one.prompt) == (other.params, other.model_id, other.kind, other.prompt)


def a1111(**body: Any) -> dict[str, Any]:
    return {"steps": 2, "width": 64, "height": 64, **body}


OF_DIALECTS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    *((path, BODIES[path]) for path in (*HUGGING_FACE, *OTHER_WORDS) if path in BODIES),
    ("/hf/image-to-image", lambda: {"inputs": text(png(1))}),
    ("/hf/image-to-image", lambda: {"inputs": text(png(1)), "parameters": {"prompt": " "}}),
    ("/sdapi/v1/txt2img", lambda: a1111(prompt="")),
    ("/sdapi/v1/txt2img", lambda: a1111(prompt="<lora:nowhere:1>")),
    ("/sdapi/v1/img2img", lambda: a1111(prompt="", init_images=[text(png(1))])),
]


@pytest.mark.parametrize(("path", "body"), OF_DIALECTS, ids=[path for path, _ in OF_DIALECTS])
def test_the_params_of_a_dialects_job_are_a_request_in_our_words(
    send: Send, client: Client, path: str, body: Callable[[], dict[str, Any]]
) -> None:
    first = send(address(path), body())
    assert first.status_code == 202, first.content
    job = client.get(first.headers["Location"]).json()
    again = send("/v1/chat/completions" if job["kind"] == "chat" else f"/api/{job['kind'].replace('_', '-')}/", job["params"])
    assert again.status_code == 202, again.content
    assert again.json()["params"] == job["params"]


def test_a_job_of_an_earlier_version_names_its_model_too(send: Send, client: Client) -> None:
    job = send("/api/txt2img/", {"prompt": "a", "model_id": "dreamshaper-8"}).json()
    row = Job.objects.get(pk=job["id"])
    del row.params["model_id"]
    row.save(update_fields=["params"])
    assert client.get(f"/api/jobs/{row.pk}/").json()["params"] == job["params"]


def test_a_load_of_another_model_than_the_addresss_is_an_error(send: Send) -> None:
    reply = send("/api/models/starter/load/", {"model_id": "dreamshaper-8"})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "model_id")


@pytest.mark.parametrize(
    ("fields", "largest"),
    [
        ({"num_images": 3}, 2**53 - 3),
        ({"best_of": 64}, 2**53 - 64),
        ({"best_of": 4, "num_images": 2}, 2**53 - 4),
        ({}, 2**53 - 1),
    ],
)
def test_the_seeds_of_all_pictures_are_in_the_range(send: Send, fields: dict[str, Any], largest: int) -> None:
    assert send("/api/txt2img/", {"prompt": "a", **fields, "seed": largest}).status_code == 202
    refused = send("/api/txt2img/", {"prompt": "a", **fields, "seed": largest + 1})
    assert refused.status_code == 400
    [error] = refused.json()["errors"]
    assert error["field"] == "seed"
    assert str(largest) in error["detail"] or fields == {}
