"""Our own parameters: the request as it was run."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.images.control.use import MOST_CONTROLS
from api.images.grids.spec import MOST_AXES
from api.images.ip_adapter.use import MOST_IMAGE_PROMPTS
from api.images.png_info.found import Found, FoundLora, as_list, as_mapping, as_text, shown
from api.images.prompt_syntax.syntaxes import COMPEL, SYNTAXES
from api.images.spec import USUAL_STRENGTH, Img2ImgSpec, Txt2ImgSpec
from api.json_types import JsonObject
from api.specs import fields_of

NUMBERS = ("width", "height", "steps", "guidance_scale", "seed", "clip_skip")
OF_TXT2IMG = tuple(one.name for one in fields_of(Txt2ImgSpec))
OF_THE_EDIT = tuple(one for one in fields_of(Img2ImgSpec) if one.name not in (*OF_TXT2IMG, "image", "strength"))
"""What a request says of the picture that it edits."""
READ_ELSEWHERE = (
    *NUMBERS,
    "prompt",
    "negative_prompt",
    "prompt_syntax",
    "scheduler",
    "model_id",
    "loras",
    "variation",
    "hires",
    "upscale",
)
SAID = ("control", "ip_adapter", "num_images", "best_of", "rank_by", "preset")
"""What the request for one picture can't say, and a sentence does."""
TAKEN = tuple(one for one in fields_of(Txt2ImgSpec) if one.name not in (*READ_ELSEWHERE, *SAID))
"""As they stand: how the picture was kept, and whatever else a request may say."""


def read_darkroom(data: Mapping[str, Any]) -> Found:
    """A picture's own seed is in it, so the request is for this picture alone."""
    grid = as_mapping(data.get("grid"))
    if "axes" in data:  # a grid's row, as its job has it
        grid, data = data, as_mapping(data.get("request"))
    found = Found("darkroom", as_text(data.get("prompt")), as_text(data.get("negative_prompt")))
    syntax = data.get("prompt_syntax")
    found.syntax = syntax if syntax in SYNTAXES else COMPEL
    found.values = {name: data[name] for name in NUMBERS if data.get(name) is not None}
    found.sampler = as_text(data.get("scheduler"))
    found.models = [as_text(data.get("model_id"))] if as_text(data.get("model_id")) else []
    found.loras = [read_lora(use) for use in map(as_mapping, as_list(data.get("loras")))]
    found.variation = data.get("variation") if isinstance(data.get("variation"), dict) else None
    found.taken = {one.name: data[one.name] for one in TAKEN if data.get(one.name) not in (None, one.default, [])}
    found.hires, found.upscale = dict(as_mapping(data.get("hires"))), dict(as_mapping(data.get("upscale")))
    if data.get("shortened"):
        found.warnings.append("The parameters were shortened when the file was written.")
    if data.get("image"):
        found.is_edited, found.strength = True, data.get("strength", USUAL_STRENGTH)
    found.warnings += describe_left_out(data)
    if grid:
        found.warnings.append(describe_grid(grid))
    return found


def describe_left_out(data: Mapping[str, Any]) -> Iterator[str]:
    """In sentences what a request for a picture from a prompt can't say, or what needs pictures that the file lacks."""
    edits = [one.name for one in OF_THE_EDIT if data.get(one.name) not in (None, one.default) and not is_idle(data[one.name])]
    if data.get("image"):
        yield f"image: the request leaves out the picture that was edited, {shown(data['image'])}; /api/img2img/ takes it."
    if edits:
        yield f"{', '.join(edits)}: left out, since the request edits no picture; /api/img2img/ takes what the picture was made with."
    yield from describe_choice(data)
    controls = [describe_control(as_mapping(one)) for one in as_list(data.get("control"))[:MOST_CONTROLS]]
    if controls:
        yield f"control: left out, since the control maps aren't in the file: {'; '.join(controls)}."
    prompts = [describe_control(as_mapping(one)) for one in as_list(data.get("ip_adapter"))[:MOST_IMAGE_PROMPTS]]
    if prompts:
        yield f"ip_adapter: left out, since its pictures aren't in the file: {'; '.join(prompts)}."


def describe_grid(grid: Mapping[str, Any]) -> str:
    axes = map(as_mapping, as_list(grid.get("axes"))[:MOST_AXES])
    varied = "; ".join(f"{shown(axis.get('field'))}: {shown(axis.get('values'))}" for axis in axes)
    return f"The picture is a grid: the request is for one of its cells. POST /api/grids/ takes its axes ({varied})."


def describe_choice(data: Mapping[str, Any]) -> Iterator[str]:
    """Of how many pictures it was one, and what it began with."""
    if data.get("best_of") is not None:
        ranked = f", rank_by {shown(data['rank_by'])}" if data.get("rank_by") else ""
        yield f"best_of {shown(data['best_of'])}{ranked}: left out, since the request is for this picture alone, by its own seed."
    if data.get("num_images") not in (None, 1):
        yield f"num_images {shown(data['num_images'])}: left out, since the request is for this picture alone, by its own seed."
    if data.get("preset"):
        yield f"preset {shown(data['preset'])}: left out, since the request has all that it gave."


def is_idle(value: object) -> bool:
    """An outpaint that grows no side."""
    return isinstance(value, dict) and not any(value.values())


def describe_control(control: Mapping[str, Any]) -> str:
    """The picture, what it is a map of, and the model."""
    made = control.get("preprocessor") or control.get("kind")
    said: JsonObject = {"image": control.get("image"), "map": made, "model_id": control.get("model_id")}
    return ", ".join(f"{name} {shown(value)}" for name, value in said.items() if value is not None)


def read_lora(use: Mapping[str, Any]) -> FoundLora:
    """A part that has no strength of its own has `weight`."""
    weight = use.get("weight", 1.0)
    text, unet = (weight if use.get(part) is None else use[part] for part in ("text", "unet"))
    return FoundLora(as_text(use.get("id")), text, unet=unet)
