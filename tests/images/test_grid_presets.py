"""Grids of requests with presets: params stand alone, errors name the place."""

from dataclasses import replace
from typing import Any

import pytest

from api.images.grids.axes import labels_of
from api.images.grids.spec import GridSpec
from api.images.presets.services import change_preset, create_preset
from tests.images.grid_requests import CIRCLE, Post, axis, refused, spec_of_reply
from tests.images.grid_requests import post as post  # the fixture

pytestmark = pytest.mark.django_db(transaction=True)


def without_preset(grid: GridSpec) -> list[GridSpec]:
    return [replace(cell, preset=None) for cell in grid.cell_specs]  # type: ignore[misc]


HQ = {"prompt": "a {prompt}, sharp", "negative_prompt": "blurry {negative_prompt}", "steps": 5, "width": 64, "height": 64}
SECOND = {"steps": 6, "hires": {"scale": 2, "strength": 0.5}, "upscale": {"scale": 2}, "loras": [{"id": "riso", "weight": 0.5}]}


@pytest.mark.parametrize(
    ("preset", "parameters", "request_", "axes"),
    [
        (HQ, [], {"prompt": "red lake"}, [axis("seed", 1, 2)]),
        (HQ, [], {}, [axis("prompt", "lake", "sea")]),
        (HQ, [], {"prompt": "red lake"}, [axis("prompt", "green", part="red"), axis("guidance_scale", 2, 3)]),
        (HQ, [], {"prompt": "a lake"}, [axis("prompt", "the", "one", part="a"), axis("prompt", "sea", part="lake")]),
        (HQ, [], {"prompt": "lake"}, [axis("negative_prompt", "dark", None)]),
        (HQ, ["steps"], {"prompt": "lake"}, [axis("steps", 3, None)]),
        (SECOND, [], CIRCLE, [axis("seed", 1, 2)]),
        (SECOND, ["hires"], CIRCLE, [axis("hires.scale", 1.5, 2)]),
        (SECOND, ["loras"], CIRCLE, [axis("loras.0.weight", 0.1, 1)]),
        ({"prompt": "a red lake"}, ["prompt"], {}, [axis("prompt", "green", "blue", part="red")]),
    ],
)
def test_params_stand_without_the_preset(
    post: Post, preset: dict[str, Any], parameters: list[str], request_: dict[str, Any], axes: list[Any]
) -> None:
    made = create_preset(name="hq", owner_key="", request=preset, parameters=parameters, description="", shared=True)
    first = post({**request_, "preset": "hq"}, *axes)
    grid = spec_of_reply(first)
    assert {cell.preset for cell in grid.cell_specs} == {"hq@1"}
    made.delete()
    params = first.json()["params"]
    assert "preset" not in params["request"]
    again = post(params["request"], *params["axes"], output_format=params["output_format"])
    assert without_preset(spec_of_reply(again)) == without_preset(grid)
    assert again.json()["params"] == params


def test_a_presets_words_are_not_the_labels(post: Post) -> None:
    create_preset(name="hq", owner_key="", request=HQ, parameters=[], description="", shared=True)
    grid = spec_of_reply(post({"preset": "hq"}, axis("prompt", "lake", "sea")))
    assert labels_of(grid.axes[0]) == ["lake", "sea"]


def test_an_axis_in_a_field_that_the_preset_fixes_is_told_so(post: Post) -> None:
    create_preset(name="hq", owner_key="", request=SECOND, parameters=[], description="", shared=True)
    named, detail = refused(post({**CIRCLE, "preset": "hq"}, axis("hires.scale", 1.5, 3)))
    assert named == "axes.0.values.0"
    assert "fixes it" in detail


@pytest.mark.parametrize(
    ("request_", "axes"),
    [
        ({"prompt": "lake"}, []),
        ({"prompt": "lake"}, [axis("prompt", "sea", "hill", part="lake")]),
        ({"prompt": "lake"}, [axis("hires.scale", 1.5, 2)]),
    ],
)
@pytest.mark.parametrize("meanwhile", ["changed", "deleted"])
def test_presets_of_an_axis_are_written_out_whatever_becomes_of_them(
    post: Post, request_: dict[str, Any], axes: list[Any], meanwhile: str
) -> None:
    first_of = {**HQ, **SECOND}
    hq = create_preset(name="hq", owner_key="", request=first_of, parameters=["hires"], shared=True)
    other = create_preset(name="other", owner_key="", request={**first_of, "steps": 7}, parameters=["hires"], shared=True)
    values = ["hq", "other"] if axes else ["hq", "other", None]
    first = post(request_, axis("preset", *values), *axes)
    params, grid = first.json()["params"], spec_of_reply(first)
    assert [cell.preset for cell in grid.cell_specs][:2] == ["hq@1", "other@1"]
    assert params["axes"][0]["values"] == [first_of, {**first_of, "steps": 7}, None][: len(values)]
    assert params["axes"][0]["labels"] == ["hq@1", "other@1", "preset: default"][: len(values)]
    if meanwhile == "deleted":
        hq.delete()
        other.delete()
    else:
        change_preset(preset=hq, by="", request={"steps": 9, "width": 128}, parameters=[], description="", shared=True)
    again = post(params["request"], *params["axes"], output_format=params["output_format"])
    assert without_preset(spec_of_reply(again)) == without_preset(grid)
    assert again.json()["params"] == params


@pytest.mark.parametrize(
    ("fields", "named", "said"),
    [
        ({"steps": 0}, "axes.0.values.1", "1"),
        ({"stepz": 4}, "axes.0.values.1", "Unknown field"),
        ({"image": "no"}, "axes.0.values.1", "has no image"),
        ({"preset": "hq"}, "axes.0.values.1", "has no preset"),
        ({"num_images": 4}, "axes.0.values.1", "a cell holds one"),
        ({"prompt": "a {prompt}"}, "axes.0.values.1", "place for the request's words"),
    ],
)
def test_what_stands_for_a_preset_is_checked_at_its_place(post: Post, fields: dict[str, Any], named: str, said: str) -> None:
    place, detail = refused(post({"seed": 7}, axis("preset", {"prompt": "a lake"}, {"prompt": "a hill", **fields})))
    assert place == named
    assert said in detail


def test_a_preset_of_several_pictures_makes_no_cell_of_an_axis(post: Post) -> None:
    create_preset(name="four", owner_key="", request={"num_images": 4}, shared=True)
    assert refused(post(CIRCLE, axis("preset", None, "four")))[0] == "axes.0.values.1"


def test_an_unknown_preset_of_an_axis_is_named_by_its_place(post: Post) -> None:
    assert refused(post(CIRCLE, axis("preset", None, "nothing")))[0] == "axes.0.values.1"
    assert refused(post({**CIRCLE, "preset": "hq"}, axis("preset", "x", part="q")))[0] == "axes.0.part"


def test_a_preset_of_several_pictures_makes_no_cell(post: Post) -> None:
    create_preset(name="four", owner_key="", request={"num_images": 4}, shared=True)
    assert refused(post({**CIRCLE, "preset": "four"}, axis("steps", 4, 8)))[0] == "request.num_images"


def test_an_unknown_preset_is_named_by_its_place(post: Post) -> None:
    assert refused(post({**CIRCLE, "preset": "nothing"}, axis("steps", 4, 8)))[0] == "request.preset"
