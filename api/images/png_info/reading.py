"""The answer to POST /api/png-info/."""

from collections.abc import Callable, Mapping

from api.images.png_info.a1111 import read_infotext
from api.images.png_info.comfyui import read_comfyui
from api.images.png_info.darkroom import read_darkroom
from api.images.png_info.fooocus import read_fooocus
from api.images.png_info.found import Found, as_mapping, parse_json
from api.images.png_info.invokeai import read_invokeai, read_older_invokeai
from api.images.png_info.novelai import read_novelai
from api.images.png_info.resolving import resolve, validate
from api.images.png_info.texts import read_texts
from api.json_types import JsonObject

LONGEST_SHOWN = 100_000
"""Characters of the parameters that the answer repeats."""
NOTHING = "The file carries no parameters that are known here."
NO_PROMPT = "The file names no prompt, without which there is no request."
SOURCES = ("darkroom", "parameters", "prompt", "invokeai_metadata", "sd-metadata", "Comment")
"""Keywords, those first that say most."""

Read = Callable[[str, Mapping[str, str]], Found | None]


def read_png_info(data: bytes, row: JsonObject | None = None) -> JsonObject:
    """`row`: what the history says of a picture that was made here, whose file may carry nothing."""
    texts = read_texts(data)
    found, raw = find(texts)
    if found is None and row is not None:
        found, raw = read_darkroom(row), ""
    if found is None:
        return {"source": None, "parameters": shorten(raw), "request": None, "missing": [], "warnings": [NOTHING]}
    resolved = resolve(found)
    request = validate(resolved) if "prompt" in resolved.request else None
    if "prompt" not in resolved.request:
        resolved.warnings.append(NO_PROMPT)
    return {
        "source": found.source,
        "parameters": shorten(raw),
        "request": request,
        "missing": resolved.missing,
        "warnings": list(dict.fromkeys(resolved.warnings)),
    }


def find(texts: Mapping[str, str]) -> tuple[Found | None, str]:
    """By the first text that one of the readers understands; and that text, or one that nobody does."""
    for keyword in SOURCES:
        if keyword in texts and (found := READERS[keyword](texts[keyword], texts)):
            return found, raw_of(found, texts, keyword)
    return None, next((texts[keyword] for keyword in SOURCES if keyword in texts), "")


def raw_of(found: Found, texts: Mapping[str, str], keyword: str) -> str:
    """Of our own files what people read."""
    return texts.get("parameters", texts[keyword]) if found.source == "darkroom" else texts[keyword]


def shorten(raw: str) -> str:
    text = raw.replace("\0", "")
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def read_own(text: str, texts: Mapping[str, str]) -> Found | None:
    data = as_mapping(parse_json(text))
    return read_darkroom(data) if data else None


def read_parameters(text: str, texts: Mapping[str, str]) -> Found | None:
    """AUTOMATIC1111's form, or the JSON that others keep under the same keyword."""
    data = as_mapping(parse_json(text)) if text.lstrip().startswith("{") else {}
    if "base_model" in data or "fooocus" in str(data.get("version", "")).lower():
        return read_fooocus(data)
    return read_comfyui(data) if data else read_infotext(text)


def read_comment(text: str, texts: Mapping[str, str]) -> Found | None:
    data = as_mapping(parse_json(text))
    if "NovelAI" in texts.get("Software", "") or {"uc", "scale"} <= data.keys():
        return read_novelai(data, texts) if data else None
    return read_parameters(text, texts)


def read_invoke(text: str, texts: Mapping[str, str]) -> Found | None:
    data = as_mapping(parse_json(text))
    return read_invokeai(data) if data else None


def read_older_invoke(text: str, texts: Mapping[str, str]) -> Found | None:
    data = as_mapping(parse_json(text))
    return read_older_invokeai(data) if data else None


def read_graph(text: str, texts: Mapping[str, str]) -> Found | None:
    return read_comfyui(parse_json(text))


READERS: Mapping[str, Read] = {
    "darkroom": read_own,
    "parameters": read_parameters,
    "prompt": read_graph,
    "invokeai_metadata": read_invoke,
    "sd-metadata": read_older_invoke,
    "Comment": read_comment,
}
