"""`alwayson_scripts`: of A1111's extensions ControlNet is known here; others are said to have no effect."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.catalog import CONTROLNET, IP_ADAPTER, ModelEntry, is_entry_name
from api.dialects.a1111.errors import refusal
from api.dialects.a1111.translation import Translated
from api.images.control.use import PREPROCESSORS
from api.images.png_info.resolving import find_entry, names_like
from api.images.scheduler_presets import UNET_FAMILIES
from api.json_types import JsonObject
from config.catalog import get_catalog

CONTROL, FIELD = "controlnet", "alwayson_scripts"
LONGEST_SHOWN, MOST_SCRIPTS = 100, 50
NO_MODULE = ("", "none")
FAMILIES = {
    "canny": "canny",
    "softedge": "softedge",
    "hed": "softedge",
    "pidinet": "softedge",
    "scribble": "scribble",
    "fake": "scribble",
    "lineart": "lineart",
    "mlsd": "lines",
    "tile": "tile",
    "recolor": "grey",
    "color": "colour",
    "t2ia": "colour",
    "invert": "invert",
}
"""Our preprocessors by the first word of ControlNet's modules: softedge_pidinet, lineart_anime, invert (from white bg …)."""
ADAPTER = "ip-adapter"
"""What the names of its modules for image prompts begin with."""
USUAL_WINDOW = {"guidance_start": 0, "guidance_end": 1}
BALANCED = (None, 0, "Balanced", "ControlMode.BALANCED")
BOTH = (None, "Both", "HiResFixOption.BOTH")
NAMES = {
    "image": "image",
    "model_id": "model",
    "preprocessor": "module",
    "weight": "weight",
    "start": "guidance_start",
    "end": "guidance_end",
}
"""Ours, and ControlNet's."""


def put_scripts(result: Translated) -> None:
    scripts: Mapping[str, Any] = result.body[FIELD]
    for name, script in list(scripts.items())[:MOST_SCRIPTS]:
        if name.lower() == CONTROL:
            put_controls(result, name, arguments_of(script))
        elif asks_for_something(arguments_of(script)):
            result.warn(f"{FIELD}.{name[:LONGEST_SHOWN]} has no effect: there is no such script here.")


def arguments_of(script: Any) -> list[Any]:
    arguments = script.get("args") if isinstance(script, Mapping) else None
    return arguments if isinstance(arguments, list) else list(arguments.values()) if isinstance(arguments, Mapping) else []


def asks_for_something(arguments: list[Any]) -> bool:
    """Most scripts say first whether they are switched on."""
    if not arguments or arguments[0] is False:
        return False
    return not all(isinstance(one, Mapping) and one.get("enable", one.get("enabled", True)) is False for one in arguments)


def put_controls(result: Translated, script: str, units: list[Any]) -> None:
    controls: list[JsonObject] = []
    image_prompts: list[JsonObject] = []
    for number, unit in enumerate(units):
        place = f"{FIELD}.{script}.args.{number}"
        if unit is not None and not isinstance(unit, Mapping):
            raise refusal(place, "Must be an object: a unit of ControlNet.")
        if unit is None or not is_enabled(unit):
            continue
        reads_prompt = is_image_prompt(unit)
        into, field = (image_prompts, "ip_adapter") if reads_prompt else (controls, "control")
        result.names |= {f"{field}.{len(into)}.{ours}": f"{place}.{theirs}" for ours, theirs in NAMES.items()}
        into.append(read_image_prompt(result, unit, place) if reads_prompt else read_unit(result, unit, place))
        for sentence in idle_parts(unit, has_hires=bool(result.body.get("enable_hr"))):
            result.warn(f"{place}.{sentence}")
        for name, usual in USUAL_WINDOW.items() if reads_prompt else ():
            if unit.get(name) not in (None, usual):
                result.warn(f"{place}.{name} has no effect: an image prompt acts at all steps.")
    result.put(control=controls or None, ip_adapter=image_prompts or None)


def is_enabled(unit: Mapping[str, Any]) -> bool:
    """Clients send "false", too."""
    return str(unit.get("enabled", True)).lower() not in ("false", "0", "none", "")


def is_image_prompt(unit: Mapping[str, Any]) -> bool:
    """By its module, which names what reads the picture; where it has none, by its model."""
    module = str(unit.get("module") or "").strip().lower()
    if module.startswith(ADAPTER):
        return True
    entry = find_steering(unit.get("model")) if module in NO_MODULE else None
    return entry is not None and entry.task == IP_ADAPTER


def read_image_prompt(result: Translated, unit: Mapping[str, Any], place: str) -> JsonObject:
    module = str(unit.get("module") or "").lower()
    if "face_id" in module or "faceid" in module:
        detail = f"'{module[:LONGEST_SHOWN]}' reads faces, which nothing here does: take ip-adapter-auto."
        raise refusal(f"{place}.module", detail, "unknown_module")
    use = {
        "image": read_picture(result, unit, place),
        "model_id": read_model(result, unit.get("model"), place, IP_ADAPTER),
        "weight": unit.get("weight"),
    }
    return {name: value for name, value in use.items() if value is not None}


def read_unit(result: Translated, unit: Mapping[str, Any], place: str) -> JsonObject:
    preprocessor = read_module(unit.get("module"), place)
    control: JsonObject = {
        "image": read_picture(result, unit, place),
        "preprocessor": preprocessor,
        "model_id": read_model(result, unit.get("model"), place),
        "weight": unit.get("weight"),
        "start": unit.get("guidance_start"),
        "end": unit.get("guidance_end"),
    }
    return {name: value for name, value in control.items() if value is not None}


def read_picture(result: Translated, unit: Mapping[str, Any], place: str) -> Any:
    """In img2img the picture that is worked on, where the unit has none."""
    picture = unit.get("image") or unit.get("input_image")
    if isinstance(picture, Mapping):
        picture = picture.get("image")
    if not picture:
        picture = next(iter(result.body.get("init_images") or ()), None)
    if not picture:
        raise refusal(f"{place}.image", "ControlNet is enabled, and there is no picture for it.", "required")
    return picture


def read_module(module: Any, place: str, *, field: str = "module") -> str | None:
    name = str(module or "").strip().lower()
    if name in NO_MODULE:
        return None
    first = name.split(" ")[0].split("_")[0]
    found = name if name in PREPROCESSORS else FAMILIES.get(first)
    if found is None:
        known = ", ".join(FAMILIES)
        detail = f"There is no preprocessor '{name[:LONGEST_SHOWN]}' here: send a map, with the module none. Known: {known}."
        raise refusal(f"{place}.{field}".strip("."), detail, "unknown_module")
    return found


def read_model(result: Translated, model: Any, place: str, task: str = CONTROLNET) -> str | None:
    """None: chosen by what the map is of."""
    name = plain_name(model)
    if name.lower() in NO_MODULE:
        return None
    entry = find_steering(model)
    if entry is not None:
        return entry.id
    known = [one.id for one in get_catalog().of_task(task)] if result.entry.family in UNET_FAMILIES else []
    what = "IP-Adapter" if task == IP_ADAPTER else "ControlNet"
    detail = f"There is no {what} '{name[:LONGEST_SHOWN]}' here. Known: {', '.join(known[:20]) or 'none'}."
    raise refusal(f"{place}.model", detail, "unknown_model")


def plain_name(model: Any) -> str:
    """Without the hash behind it."""
    return str(model or "").partition(" [")[0].strip()


def find_steering(model: Any) -> ModelEntry | None:
    names = [one for one in names_like(plain_name(model)) if is_entry_name(one)]
    entry: ModelEntry | None = find_entry(get_catalog().find_model, names)
    return entry


def idle_parts(unit: Mapping[str, Any], *, has_hires: bool) -> Iterator[str]:
    if unit.get("mask") or unit.get("mask_image"):
        yield "mask has no effect: a map acts on the whole picture."
    if unit.get("control_mode") not in BALANCED:
        yield "control_mode has no effect: prompt and map act as with 'Balanced'."
    if has_hires and unit.get("hr_option") not in BOTH:
        yield "hr_option has no effect: a map acts on both passes."
