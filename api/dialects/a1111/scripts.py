"""`alwayson_scripts`: of A1111's extensions ControlNet is known here; others are said to have no effect."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.catalog import CONTROLNET, is_entry_name
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
    for number, unit in enumerate(units):
        place = f"{FIELD}.{script}.args.{number}"
        if unit is not None and not isinstance(unit, Mapping):
            raise refusal(place, "Must be an object: a unit of ControlNet.")
        if unit is None or not is_enabled(unit):
            continue
        result.names |= {f"control.{len(controls)}.{ours}": f"{place}.{theirs}" for ours, theirs in NAMES.items()}
        controls.append(read_unit(result, unit, place))
        for sentence in idle_parts(unit, has_hires=bool(result.body.get("enable_hr"))):
            result.warn(f"{place}.{sentence}")
    if controls:
        result.put(control=controls)


def is_enabled(unit: Mapping[str, Any]) -> bool:
    """Clients send "false", too."""
    return str(unit.get("enabled", True)).lower() not in ("false", "0", "none", "")


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


def read_module(module: Any, place: str) -> str | None:
    name = str(module or "").strip().lower()
    if name in NO_MODULE:
        return None
    first = name.split(" ")[0].split("_")[0]
    found = name if name in PREPROCESSORS else FAMILIES.get(first)
    if found is None:
        known = ", ".join(FAMILIES)
        detail = f"There is no preprocessor '{name[:LONGEST_SHOWN]}' here: send a map, with the module none. Known: {known}."
        raise refusal(f"{place}.module", detail, "unknown_module")
    return found


def read_model(result: Translated, model: Any, place: str) -> str | None:
    """None: chosen by what the map is of."""
    name = str(model or "").partition(" [")[0].strip()
    if name.lower() in NO_MODULE:
        return None
    names = [one for one in names_like(name) if is_entry_name(one)]
    entry = find_entry(get_catalog().find_model, names)
    if entry is not None:
        return str(entry.id)
    known = [one.id for one in get_catalog().of_task(CONTROLNET)] if result.entry.family in UNET_FAMILIES else []
    detail = f"There is no ControlNet '{name[:LONGEST_SHOWN]}' here. Known: {', '.join(known[:20]) or 'none'}."
    raise refusal(f"{place}.model", detail, "unknown_model")


def idle_parts(unit: Mapping[str, Any], *, has_hires: bool) -> Iterator[str]:
    if unit.get("mask") or unit.get("mask_image"):
        yield "mask has no effect: a map acts on the whole picture."
    if unit.get("control_mode") not in BALANCED:
        yield "control_mode has no effect: prompt and map act as with 'Balanced'."
    if has_hires and unit.get("hr_option") not in BOTH:
        yield "hr_option has no effect: a map acts on both passes."
