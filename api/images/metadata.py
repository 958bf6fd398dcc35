"""A picture's file and the parameters that it carries. No torch.

PNG: a `parameters` text in AUTOMATIC1111's form, which the tools of this field read, and `darkroom`, all of it as JSON.
The other formats: the text as EXIF UserComment, the JSON as EXIF MakerNote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.files.formats import FORMATS, encode
from api.images.scheduler_presets import scheduler_labels
from api.images.spec import AROUND_MASK, BLUR, EMPTY, NOISE
from api.json_types import Json, JsonObject

SHORTER = (1000, 300, 100, 30)
"""Characters to which each text is cut, one after the other, until all fits."""

MASKED_CONTENT = {BLUR: "fill", NOISE: "latent noise", EMPTY: "latent nothing"}
"""AUTOMATIC1111's words; the original is not named."""
EXIF_FOLDER, USER_COMMENT, MAKER_NOTE = 0x8769, 0x9286, 0x927C
UNICODE_MARK, MAKER_MARK = b"UNICODE\x00", b"darkroom\x00"
"""What the two texts in EXIF begin with."""


def encode_image(
    image: Image.Image,
    output_format: str,
    parameters: Mapping[str, Json] | None,
    warn: Callable[[str], None],
    quality: int | None = None,
) -> bytes:
    """The file's bytes; `output_format` is a name of FORMATS, `quality` for those with loss. Without parameters the file carries none.

    `parameters` is JSON in the names of the API (prompt, negative_prompt, steps, guidance_scale, seed, scheduler, model_id,
    strength, clip_skip, loras …). What the format has no room for is shortened and told to `warn`: a picture that is made is
    never lost by what is said of it.
    """
    row = FORMATS[output_format]
    if row.parameters == "text":
        return encode(image, row, pnginfo=_png_info(parameters, image))
    exif, limit = _exif(parameters, image), row.max_exif_bytes
    if parameters is not None and limit is not None and len(exif) > limit:
        exif = _short_exif(parameters, image, limit)
        warn(
            f"The parameters in the file were shortened, as a {row.label} holds {round(limit / 1024)} KiB of them; "
            "the history has them in full."
        )
    return encode(image, row, exif=exif, **({} if quality is None else {"quality": quality}))


def infotext(parameters: Mapping[str, Any], width: int, height: int) -> str:
    """AUTOMATIC1111's form: the prompt, a line of what to leave out, a line of settings."""
    lines = [_prompt_with_loras(parameters)]
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {parameters['negative_prompt']}")
    skipped, hires, upscale = parameters.get("clip_skip"), parameters.get("hires") or {}, parameters.get("upscale") or {}
    grid = parameters.get("grid") or {}
    if hires or upscale or grid:  # the size is that of the first pass, and of the first cell
        width, height = parameters.get("width", width), parameters.get("height", height)
    sampler, schedule = scheduler_labels(parameters.get("scheduler"))
    settings: JsonObject = {
        "Steps": parameters.get("steps"),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": parameters.get("guidance_scale"),
        **_seeds(parameters),
        "Size": f"{width}x{height}",
        "Model hash": parameters.get("model_hash"),
        "Model": parameters.get("model_id"),
        "Denoising strength": parameters.get("strength", hires.get("strength")),
        "Mask blur": parameters.get("mask_blur") or None,
        "Masked content": MASKED_CONTENT.get(parameters.get("fill", "")),
        **_area(parameters),
        "Hires upscale": hires.get("scale"),
        "Hires steps": hires.get("steps"),
        "Hires upscaler": _upscaler_label(hires.get("upscaler")),
        "Postprocess upscale by": upscale.get("scale"),
        "Postprocess upscaler": _upscaler_label(upscale.get("model_id")),
        "Postprocess upscaler 2": _upscaler_label((upscale.get("blend") or {}).get("model_id")),
        "Clip skip": skipped + 1 if skipped else None,  # theirs counts the last layer as one
        **{f"ControlNet {number}": _control(control) for number, control in enumerate(parameters.get("control") or ())},
        **{f"IP-Adapter {number}": _image_prompt(use) for number, use in enumerate(parameters.get("ip_adapter") or ())},
        **_axes(grid),
        "Prompt syntax": parameters.get("prompt_syntax"),
        "Version": "Darkroom",
    }
    lines.append(", ".join(f"{name}: {_quote(value)}" for name, value in settings.items() if value not in (None, "")))
    return "\n".join(lines).lstrip("\n")


def _seeds(parameters: Mapping[str, Any]) -> JsonObject:
    """Theirs of a variation: `Seed` is that of the picture that is varied, `Variation seed` the picture's own."""
    own, variation = parameters.get("seed"), parameters.get("variation")
    if not variation or variation["strength"] == 1 or variation["earlier"]:  # they mix two seeds, no more
        return {"Seed": own}
    return {"Seed": variation["seed"], "Variation seed": own, "Variation seed strength": float(variation["strength"])}


def _axes(grid: Mapping[str, Any]) -> JsonObject:
    """As AUTOMATIC1111's script writes it."""
    said: JsonObject = {"Script": "X/Y/Z plot"} if grid else {}
    for letter, axis in zip("XYZ", grid.get("axes") or (), strict=False):
        field = f"{axis['field']} ({axis['part']})" if axis.get("part") else axis["field"]
        said |= {f"{letter} Type": field, f"{letter} Values": ", ".join(map(_plain, axis["values"]))}
    return said


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _area(parameters: Mapping[str, Any]) -> JsonObject:
    if parameters.get("inpaint_area") != AROUND_MASK:
        return {}
    return {"Inpaint area": "Only masked", "Masked area padding": parameters.get("mask_padding")}


def _upscaler_label(name: str | None) -> str | None:
    """A1111's own have capitals."""
    return name.capitalize() if name in ("latent", "lanczos", "nearest") else name


def _png_info(parameters: Mapping[str, Json] | None, image: Image.Image) -> PngInfo | None:
    if parameters is None:
        return None
    info = PngInfo()
    info.add_text("parameters", infotext(parameters, *image.size))  # as iTXt (UTF-8) where Latin-1 can't hold it
    info.add_text("darkroom", json.dumps(parameters))
    return info


def _exif(parameters: Mapping[str, Json] | None, image: Image.Image) -> bytes:
    if parameters is None:
        return b""
    exif = Image.Exif()
    folder = exif.get_ifd(EXIF_FOLDER)
    folder[USER_COMMENT] = UNICODE_MARK + infotext(parameters, *image.size).encode("utf-16-be")
    folder[MAKER_NOTE] = MAKER_MARK + json.dumps(parameters, ensure_ascii=False).encode()
    return exif.tobytes()


def _short_exif(parameters: Mapping[str, Json], image: Image.Image, limit: int) -> bytes:
    """As much of the parameters as fits into `limit` bytes; none where even their shortest form does not."""
    for length in SHORTER:
        exif = _exif({**_cut(parameters, length), "shortened": True}, image)
        if len(exif) <= limit:
            return exif
    return b""


def _cut(value: object, length: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else value[: length - 1] + "…"
    if isinstance(value, Mapping):
        return {name: _cut(item, length) for name, item in value.items()}
    return [_cut(item, length) for item in value] if isinstance(value, list | tuple) else value


def _prompt_with_loras(parameters: Mapping[str, Any]) -> str:
    return " ".join([str(parameters.get("prompt", "")), *map(_lora_tag, parameters.get("loras") or ())])


def _lora_tag(lora: Mapping[str, Any]) -> str:
    """AUTOMATIC1111's form: `<lora:name:weight>`, or `<lora:name:text:unet>` where the parts differ."""
    weight = lora["weight"]
    parts = [lora.get(part, weight) for part in ("text", "unet")]
    return f"<lora:{lora['id']}:{':'.join(f'{part:g}' for part in dict.fromkeys(parts))}>"


def _control(control: Mapping[str, Any]) -> str:
    """As AUTOMATIC1111's extension writes it; the map itself is not in the file."""
    said = {
        "Module": control.get("preprocessor") or "none",
        "Model": control["model_id"],
        "Weight": control["weight"],
        "Resize Mode": "Crop and Resize",
        "Guidance Start": control["start"],
        "Guidance End": control["end"],
    }
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def _image_prompt(use: Mapping[str, Any]) -> str:
    return f"Model: {use['model_id']}, Weight: {use['weight']}"


def _quote(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text
