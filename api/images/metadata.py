"""A picture's file and the parameters that it carries. No torch.

PNG: a `parameters` text in AUTOMATIC1111's form, which the tools of this field read, and `darkroom`, all of it as JSON.
The other formats: the text as EXIF UserComment, the JSON as EXIF MakerNote.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.files.decoding import DAMAGED
from api.files.formats import CODECS, FORMATS, TEXT_CODECS, encode
from api.images.scheduler_presets import SCHEDULERS, scheduler_label
from api.json_types import Json, JsonObject

SHORTER = (1000, 300, 100, 30)
"""Characters to which each text is cut, one after the other, until all fits."""

_EXIF_FOLDER, _USER_COMMENT, _MAKER_NOTE = 0x8769, 0x9286, 0x927C
_UNICODE, _MAKER = b"UNICODE\x00", b"darkroom\x00"
_PAIR = re.compile(r'\s*([^:,]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')

# AUTOMATIC1111's name of a parameter, ours, and its type.
_FIELDS: tuple[tuple[str, str, type], ...] = (
    ("Steps", "steps", int),
    ("CFG scale", "guidance_scale", float),
    ("Seed", "seed", int),
    ("Model", "model_id", str),
    ("Denoising strength", "strength", float),
)


def encode_image(
    image: Image.Image, output_format: str, parameters: Mapping[str, Json] | None, warn: Callable[[str], None]
) -> bytes:
    """The file's bytes; `output_format` is a name of FORMATS. Without parameters the file carries none.

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
    return encode(image, row, exif=exif)


def read_parameters(data: bytes) -> JsonObject | None:
    """The parameters in a file of ours, or what can be read of AUTOMATIC1111's text; None where there are none."""
    try:
        with Image.open(io.BytesIO(data), formats=CODECS) as image:
            whole, text = _read_png(image) if image.format in TEXT_CODECS else _read_exif(image)
    except (*DAMAGED, Image.DecompressionBombError):
        return None
    return _from_json(whole) or (parse_infotext(text) if text else None)


def infotext(parameters: Mapping[str, Any], width: int, height: int) -> str:
    """AUTOMATIC1111's form: the prompt, a line of what to leave out, a line of settings."""
    lines = [_prompt_with_loras(parameters)]
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {parameters['negative_prompt']}")
    settings: JsonObject = {name: parameters.get(ours) for name, ours, _ in _FIELDS}
    settings["Sampler"] = scheduler_label(parameters.get("scheduler"))
    settings["Size"] = f"{width}x{height}"
    if parameters.get("clip_skip"):
        settings["Clip skip"] = parameters["clip_skip"] + 1  # theirs counts the last layer as one
    settings["Prompt syntax"] = parameters.get("prompt_syntax")
    settings["Version"] = "Darkroom"
    order = (
        "Steps",
        "Sampler",
        "CFG scale",
        "Seed",
        "Size",
        "Model",
        "Denoising strength",
        "Clip skip",
        "Prompt syntax",
        "Version",
    )
    lines.append(", ".join(f"{name}: {_quote(settings[name])}" for name in order if settings.get(name) not in (None, "")))
    return "\n".join(lines)


def parse_infotext(text: str) -> JsonObject | None:
    """Our names for what AUTOMATIC1111's text says; None when it isn't such a text."""
    *head, last = text.strip().split("\n")
    if not re.match(r"Steps: ", last):
        return None
    prompt, _, negative = "\n".join(head).partition("Negative prompt: ")
    pairs = {name.strip(): value.strip().strip('"') for name, value in _PAIR.findall(last)}
    found: JsonObject = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    for name, ours, kind in _FIELDS:
        _put(found, ours, pairs.get(name), kind)
    width, _, height = pairs.get("Size", "").partition("x")
    _put(found, "width", width, int)
    _put(found, "height", height, int)
    _put(found, "clip_skip", pairs.get("Clip skip"), lambda value: int(value) - 1)
    found["scheduler"] = next((name for name, preset in SCHEDULERS.items() if preset.label == pairs.get("Sampler")), None)
    return found


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
    folder = exif.get_ifd(_EXIF_FOLDER)
    folder[_USER_COMMENT] = _UNICODE + infotext(parameters, *image.size).encode("utf-16-be")
    folder[_MAKER_NOTE] = _MAKER + json.dumps(parameters, ensure_ascii=False).encode()
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


def _read_png(image: Image.Image) -> tuple[str, str]:
    image.load()  # text may follow the pixels
    texts = getattr(image, "text", {})
    return str(texts.get("darkroom", "")), str(texts.get("parameters", ""))


def _read_exif(image: Image.Image) -> tuple[str, str]:
    folder = image.getexif().get_ifd(_EXIF_FOLDER)
    whole, comment = folder.get(_MAKER_NOTE, b""), folder.get(_USER_COMMENT, b"")
    if not (isinstance(whole, bytes) and isinstance(comment, bytes)):
        return "", ""
    text = comment.removeprefix(_UNICODE).decode("utf-16-be", "replace") if comment.startswith(_UNICODE) else ""
    return (whole.removeprefix(_MAKER).decode("utf-8", "replace") if whole.startswith(_MAKER) else ""), text


def _from_json(text: str) -> JsonObject | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _prompt_with_loras(parameters: Mapping[str, Any]) -> str:
    return " ".join([str(parameters.get("prompt", "")), *map(_lora_tag, parameters.get("loras") or ())])


def _lora_tag(lora: Mapping[str, Any]) -> str:
    """AUTOMATIC1111's form: `<lora:name:weight>`, or `<lora:name:text:unet>` where the parts differ."""
    weight = lora["weight"]
    parts = [lora.get(part, weight) for part in ("text", "unet")]
    return f"<lora:{lora['id']}:{':'.join(f'{part:g}' for part in dict.fromkeys(parts))}>"


def _quote(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _put(found: JsonObject, name: str, value: str | None, kind: Any) -> None:
    """Only what can be read: files come from anywhere."""
    if value:
        try:
            found[name] = kind(value)
        except ValueError:
            return
