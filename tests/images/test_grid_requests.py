"""What a grid may be asked for: each cell is the request that it would be alone, and what is refused is refused by its place."""

import base64
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.files.decoding import encode_png
from api.files.models import StoredFile
from api.images.grids.axes import cell_body, cell_places, labels_of
from api.images.grids.cells import with_files
from api.images.grids.handler import model_order
from api.images.grids.label_layout import lay_out
from api.images.grids.sizes import work_of
from api.images.grids.spec import GridAxis
from api.jobs.models import Job
from tests.api.bodies import ASYNC, png, text
from tests.images.grid_requests import CIRCLE, NOBODYS, Post, axis, refused, spec_of_reply
from tests.images.grid_requests import post as post  # the fixture

pytestmark = pytest.mark.django_db(transaction=True)


# ---------------------------------------------------------------- cells


def test_the_first_axis_varies_quickest() -> None:
    axes = (
        GridAxis(field="seed", values=(1, 2)),
        GridAxis(field="steps", values=(3, 4)),
        GridAxis(field="width", values=(64,)),
    )
    bodies = [cell_body({}, axes, places) for places in cell_places(axes)]
    assert [(body["seed"], body["steps"]) for body in bodies] == [(1, 3), (2, 3), (1, 4), (2, 4)]


def test_parts_of_a_text_are_replaced_at_once_and_wherever_they_stand() -> None:
    axes = (GridAxis(field="prompt", part="a", values=("b",)), GridAxis(field="prompt", part="b", values=("c",)))
    assert cell_body({"prompt": "a b a"}, axes, (0, 0)) == {"prompt": "b c b"}


def test_a_value_goes_to_a_place_within_a_field() -> None:
    axes = (GridAxis(field="loras.1.weight", values=(0.5,)),)
    request = {"loras": [{"id": "x"}, {"id": "y", "weight": 1}]}
    assert cell_body(request, axes, (0,)) == {"loras": [{"id": "x"}, {"id": "y", "weight": 0.5}]}
    assert request["loras"][1]["weight"] == 1


def test_words_are_their_own_labels_and_numbers_say_of_what_they_are() -> None:
    assert labels_of(GridAxis(field="prompt", values=("a lake",))) == ["a lake"]
    assert labels_of(GridAxis(field="guidance_scale", values=(5, 1.5, None))) == [
        "guidance scale: 5",
        "guidance scale: 1.5",
        "guidance scale: default",
    ]
    assert labels_of(GridAxis(field="seed", values=(1, 2), labels=("one", "two"))) == ["one", "two"]


def test_each_cell_is_the_request_that_it_would_be_alone(post: Post, client: Client) -> None:
    grid = spec_of_reply(post(CIRCLE, axis("steps", 4, 8), axis("scheduler", "euler", None)))
    alone = [
        client.post("/api/txt2img/", {**CIRCLE, "steps": steps, "scheduler": scheduler}, "application/json", headers=ASYNC)
        for scheduler in ("euler", None)
        for steps in (4, 8)
    ]
    assert [cell.to_json() for cell in grid.cell_specs] == [Job.objects.get(pk=one.json()["id"]).params for one in alone]


def test_a_model_without_words_of_the_request_decides_them_by_itself(post: Post) -> None:
    grid = spec_of_reply(post({"prompt": "a lake"}, axis("model_id", "starter", "sdxl-base-1.0")))
    starter, sdxl = grid.cell_specs
    assert (starter.width, sdxl.width) == (128, 1024)
    assert "width" not in grid.request


def test_all_cells_have_one_seed_that_is_drawn_once(post: Post) -> None:
    grid = spec_of_reply(post({"prompt": "a lake"}, axis("steps", 4, 8)))
    assert len({cell.seed for cell in grid.cell_specs}) == 1
    assert grid.request["seed"] == grid.cell_specs[0].seed


def test_a_picture_is_stored_once_for_all_cells(post: Post) -> None:
    grid = spec_of_reply(post({**CIRCLE, "image": text(png())}, axis("strength", 0.2, 0.9)))
    assert {cell.kind for cell in grid.cell_specs} == {"img2img"}
    assert grid.input_ids == (grid.request["image"],)
    assert Job.objects.get().inputs.count() == 1


def control(picture: object, **more: Any) -> dict[str, Any]:
    return {"image": picture, "kind": "canny", **more}


@pytest.fixture
def large_picture() -> str:
    noise = Image.frombytes("RGB", (256, 256), random.Random(0).randbytes(256 * 256 * 3))
    return text(encode_png(noise))


@pytest.mark.parametrize(
    ("request_", "field", "within"),
    [
        ({}, "control", lambda picture: [control(picture)]),
        ({"control": [control(text(png()))]}, "control", lambda picture: [control(picture)]),
        ({"control": [control(text(png()))]}, "control.0", control),
        ({"control": [control(text(png()))]}, "control.0.image", lambda picture: picture),
    ],
)
def test_pictures_in_the_values_of_an_axis_are_kept_by_their_ids(
    post: Post, large_picture: str, request_: dict[str, Any], field: str, within: Callable[[str], Any]
) -> None:
    axes = [axis("steps", 4, 8), axis(field, within(large_picture), within(text(png(1))))]
    request = {**CIRCLE, **request_}
    started = time.monotonic()
    first = post(request, *axes)
    assert time.monotonic() - started < 20
    params = first.json()["params"]
    assert max(map(len, json.dumps(params).split('"'))) < 100, "no base64 is kept"
    assert StoredFile.objects.count() <= 3
    grid = spec_of_reply(first)
    assert [cell.control[0].image for cell in grid.cell_specs][::2] == list(grid.input_ids)
    again = post(params["request"], *params["axes"], output_format=params["output_format"])
    assert again.json()["params"] == params
    assert spec_of_reply(again) == grid
    assert post(request, *axes, path="/api/grids/estimate/").status_code == 200


def test_of_what_validation_made_only_the_file_takes_a_pictures_place() -> None:
    file = StoredFile()
    sent, validated = [{"image": "aGk=", "kind": "canny"}], [{"image": file, "kind": "canny", "model_id": "of one cell"}]
    assert with_files(sent, validated) == [{"image": file, "kind": "canny"}]


def test_cells_of_one_model_are_asked_for_one_after_the_other(post: Post) -> None:
    grid = spec_of_reply(post(CIRCLE, axis("model_id", "starter", "sdxl-base-1.0"), axis("steps", 4, 8)))
    assert model_order(grid) == [0, 2, 1, 3]


def test_a_grid_in_a_form_is_the_grid_in_json(client: Client, post: Post) -> None:
    axes = [axis("steps", 4, 8)]
    form = {"request": json.dumps(CIRCLE), "axes": json.dumps(axes)}
    reply = client.post("/api/grids/", form, headers=ASYNC)
    assert spec_of_reply(reply) == spec_of_reply(post(CIRCLE, *axes))


def test_equal_grids_are_one_job_under_an_idempotency_key_whatever_seed_was_drawn(client: Client, post: Post) -> None:
    body = {"request": {"prompt": "a", "image": base64.b64encode(png()).decode()}, "axes": [axis("steps", 4, 8)]}
    first, again = (
        client.post("/api/grids/", body, "application/json", headers={**ASYNC, "Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]


@pytest.mark.parametrize(
    ("request_", "axes"),
    [
        (CIRCLE, [axis("prompt", "green", part="red"), axis("prompt", "star", part="square")]),
        ({"prompt": "a"}, [axis("model_id", "starter", "sdxl-base-1.0"), axis("seed", 1, 2)]),
        ({**CIRCLE, "loras": [{"id": "riso"}]}, [axis("loras.0.weight", 0, 0.5, 1)]),
        ({"prompt": "a lake <lora:riso:1>", "prompt_syntax": "a1111"}, [axis("prompt", "sea", part="lake")]),
        ({"prompt": "x", "prompt_syntax": "auto"}, [axis("prompt", "a (red:1.2) lake", "a lake")]),
    ],
)
def test_a_grids_params_are_a_request_for_the_same_grid(post: Post, request_: dict[str, Any], axes: list[Any]) -> None:
    first = post(request_, *axes)
    params = first.json()["params"]
    again = post(params["request"], *params["axes"], output_format=params["output_format"])
    assert again.json()["params"] == params
    assert spec_of_reply(again) == spec_of_reply(first)


def test_the_cells_are_not_among_the_params(post: Post) -> None:
    assert set(post(CIRCLE, axis("steps", 4, 8)).json()["params"]) == {"request", "axes", "output_format"}


# ---------------------------------------------------------------- what has no effect


def test_a_sentence_about_some_cells_says_about_how_many(post: Post) -> None:
    reply = post({**CIRCLE, "negative_prompt": "blurry"}, axis("guidance_scale", 0, 5, 6))
    [warning] = reply.json()["warnings"]
    assert warning == "In 1 of 3 cells: negative_prompt has no effect at a guidance_scale of 1 or below."


def test_a_picture_that_would_be_too_large_shows_smaller_cells_and_says_so(post: Post) -> None:
    reply = post({**CIRCLE, "width": 2048, "height": 2048}, axis("seed", *range(24)))
    [warning] = reply.json()["warnings"]
    assert "of their size" in warning


# ---------------------------------------------------------------- the estimate


def test_an_estimate_makes_no_job(post: Post) -> None:
    reply = post(CIRCLE, axis("steps", 4, 8), axis("guidance_scale", 1, 2, 3), path="/api/grids/estimate/")
    assert reply.status_code == 200, reply.content
    told = reply.json()
    assert (told["cells"], told["columns"], told["rows"], told["sheets"], told["steps"]) == (6, 2, 3, 1, 36)
    assert told["models"] == [{"model_id": "starter", "cells": 6, "seconds": None}]
    assert not Job.objects.exists()


def test_an_estimate_counts_best_of_and_the_steps_that_strength_leaves(post: Post) -> None:
    reply = post({**CIRCLE, "best_of": 3}, axis("steps", 4, 8), path="/api/grids/estimate/")
    assert reply.json()["steps"] == 36
    picture = {**CIRCLE, "image": text(png()), "steps": 10}
    assert post(picture, axis("strength", 0.5, 1), path="/api/grids/estimate/").json()["steps"] == 15


@pytest.mark.parametrize(
    ("fields", "width", "height"),
    [
        ({}, 128, 64),
        ({"hires": {"scale": 2, "strength": 0.5}}, 256, 128),
        ({"hires": {"scale": 1.3, "strength": 0.5}}, 168, 80),
        ({"upscale": {"scale": 3}}, 384, 192),
        ({"hires": {"scale": 2, "strength": 0.5}, "upscale": {"scale": 2}}, 512, 256),
        ({"image": text(png())}, 128, 64),
        ({"image": text(png()), "hires": {"scale": 2, "strength": 0.5}}, 256, 128),
        ({"image": text(png()), "outpaint": {"left": 300, "top": 10}}, 332, 42),
        ({"image": text(png()), "outpaint": {"left": 300}, "upscale": {"scale": 2}}, 664, 64),
        ({"image": text(png()), "mask": text(png())}, 128, 64),
        ({"image": text(png()), "mask": text(png()), "inpaint_area": "mask"}, 32, 32),
    ],
)
def test_an_estimate_has_the_size_that_the_pictures_will_have(
    post: Post, fields: dict[str, Any], width: int, height: int
) -> None:
    axes = [axis("seed", 1, 2)]
    reply = post({**CIRCLE, "width": 128, "height": 64, **fields}, *axes, path="/api/grids/estimate/")
    assert reply.status_code == 200, reply.content
    expected = lay_out((GridAxis(field="seed", values=(1, 2)),), [(width, height)] * 2)
    assert (reply.json()["width"], reply.json()["height"]) == (expected.width, expected.height)


def test_an_estimate_warns_of_smaller_cells_where_enlarging_makes_them_too_large(post: Post) -> None:
    request = {**CIRCLE, "width": 1024, "height": 1024, "upscale": {"scale": 4}}
    told = post(request, axis("seed", 1, 2, 3, 4), path="/api/grids/estimate/").json()
    assert told["scale"] < 1
    assert "of their size" in told["warnings"][-1]


def test_an_estimate_counts_the_second_pass_with_its_pixels(post: Post) -> None:
    request = {**CIRCLE, "steps": 10, "best_of": 2, "hires": {"scale": 2, "strength": 0.5}}
    axes = [axis("hires.steps", 20, None)]
    assert post(request, *axes, path="/api/grids/estimate/").json()["steps"] == 2 * (10 + 10) + 2 * (10 + 5)
    spec = spec_of_reply(post(request, *axes)).cell_specs[0]
    assert work_of(spec) == 2 * (10 + 10 * 4) * spec.width * spec.height


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("request_", "axes", "field", "words"),
    [
        (CIRCLE, [axis("stpes", 1, 2)], "axes.0.field", "steps"),
        (CIRCLE, [axis("seed", 1), axis("num_images", 1)], "axes.1.field", "can't be an axis"),
        (CIRCLE, [axis("seed", 1), axis("seed", 2)], "axes.1.field", "already"),
        (CIRCLE, [axis("seed", 1, 2, labels=["a"])], "axes.0.labels", "2 values"),
        (CIRCLE, [axis("prompt", "x", part="lake")], "axes.0.part", "does not have it"),
        (CIRCLE, [axis("seed", "x", part="lake")], "axes.0.part", "no text"),
        (CIRCLE, [axis("prompt", 5, part="red")], "axes.0.values", "Texts"),
        (CIRCLE, [axis("loras.0.weight", 1)], "axes.0.field", "not given"),
        ({**CIRCLE, "loras": [{"id": "riso"}]}, [axis("loras.3.weight", 1)], "axes.0.field", "nothing at '3'"),
        (CIRCLE, [axis("steps", 4, 999)], "axes.0.values.1", "150"),
        (CIRCLE, [axis("scheduler", "euler", "eulr")], "axes.0.values.1", "euler"),
        (CIRCLE, [axis("model_id", "starter", "nobody/has-this")], "axes.0.values.1", "nobody"),
        ({**CIRCLE, "loras": [{"id": "riso"}]}, [axis("loras.0.weight", 1, 9)], "axes.0.values.1", "2"),
        ({"seed": 1}, [axis("steps", 4)], "request.prompt", "required"),
        ({**CIRCLE, "stpes": 4}, [axis("seed", 4)], "request.stpes", "steps"),
        ({**CIRCLE, "num_images": 2}, [axis("seed", 4)], "request.num_images", "one picture"),
        ({**CIRCLE, "priority": 2}, [axis("seed", 4)], "request.priority", "beside"),
        (CIRCLE, [axis("seed", *range(100)), axis("steps", *range(1, 101))], "axes", "10,000 cells"),
        (CIRCLE, [axis("seed", *range(1000))], "axes.0.values", "256"),
        (CIRCLE, [], "axes", ""),
        (CIRCLE, [axis("seed", 1), axis("steps", 1), axis("width", 64), axis("height", 64)], "axes", "3"),
        ({**CIRCLE, "image": "nothing"}, [axis("seed", 4)], "request.image", "image"),
        ({**CIRCLE, "control": [{"image": "no", "kind": "canny"}]}, [axis("seed", 4)], "request.control.0.image", "image"),
        (
            {**CIRCLE, "control": [{"image": NOBODYS, "kind": "canny"}]},
            [axis("seed", 4)],
            "request.control.0.image",
            "no image",
        ),
        ({**CIRCLE, "loras": [{"id": "riso"}, {"id": "riso", "weight": 9}]}, [axis("seed", 4)], "request.loras.1.weight", "2"),
        ({**CIRCLE, "hires": {"scale": 99}}, [axis("seed", 4)], "request.hires.scale", "4"),
        (CIRCLE, [axis("loras", [], [{"id": "riso"}, {"id": "riso", "weight": 9}])], "axes.0.values.1.1.weight", "2"),
        (CIRCLE, [axis("hires", None, {"scale": 99})], "axes.0.values.1.scale", "4"),
        ({**CIRCLE, "control": [{"kind": "canny"}]}, [axis("control.0.image", "no")], "axes.0.values.0", "image"),
    ],
)
def test_what_is_refused_is_named_by_its_place(
    post: Post, request_: dict[str, Any], axes: list[Any], field: str, words: str
) -> None:
    named, detail = refused(post(request_, *axes))
    assert named == field, detail
    assert words in detail


def test_a_request_that_is_no_object_is_refused(client: Client) -> None:
    body = {"request": ["a"], "axes": [axis("seed", 1)]}
    assert refused(client.post("/api/grids/", body, "application/json"))[0] == "request"


def test_a_cell_that_does_not_fit_another_value_says_in_which_cell(post: Post, settings: Any) -> None:
    named, detail = refused(post({**CIRCLE, "steps": 100}, axis("scheduler", "euler", "lcm")))
    assert named == "request.steps"
    assert "in the cell with lcm" in detail


def test_more_cells_than_an_owner_may_have_jobs_are_refused_at_once(post: Post, settings: Any) -> None:
    settings.MAX_ACTIVE_JOBS_PER_KEY = 20
    reply = post(CIRCLE, axis("seed", *range(24)))
    assert reply.status_code == 429
    assert "25 jobs" in reply.json()["detail"]
    assert not Job.objects.exists()
