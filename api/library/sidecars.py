"""What other programs wrote beside a file: Civitai Helper, Stability Matrix, ComfyUI's LoRA manager, A1111 and Forge.

Anything may be in such a file: what is not of the expected type is passed over.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 5_000_000
MOST_WORDS, LONGEST_WORD = 20, 200
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
FAMILIES = (
    (r"sd ?xl.*refiner", "sdxl-refiner"),
    (r"sd ?xl|pony|illustrious|noobai", "sdxl"),
    (r"sd ?1|sd ?v1", "sd1"),
    (r"sd ?2|sd ?v2", "sd2"),
    (r"sd ?3", "sd3"),
    (r"flux", "flux"),
)
"""How `baseModel` begins in lower case."""


@dataclass(frozen=True)
class SidecarInfo:
    name: str = ""
    trigger_words: tuple[str, ...] = ()
    licence: str = ""
    sha256: str = ""
    family: str = ""


def read_sidecars(files: list[Path]) -> SidecarInfo:
    """Of each value what the first file says that has one."""
    found = [describe(document) for file in files if (document := read_document(file))]

    def first(name: str) -> Any:
        return next((value for info in found if (value := getattr(info, name))), getattr(SidecarInfo, name))

    return SidecarInfo(**{name: first(name) for name in SidecarInfo.__dataclass_fields__})


def read_document(file: Path) -> dict[str, Any]:
    """{} where it is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        document = json.loads(content.decode("utf-8-sig")) if len(content) <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def describe(document: dict[str, Any]) -> SidecarInfo:
    civitai = table(document, "civitai")
    version = {**document, **civitai}
    model = table(version, "model")
    hashes = [table(version, "Hashes"), *(table(file, "hashes") for file in tables(version, "files"))]
    base = text(version, "baseModel", "base_model", "BaseModel", "sd version").lower()
    return SidecarInfo(
        name=title(text(model, "name") or text(document, "ModelName", "model_name"), text(version, "VersionName"), version),
        trigger_words=tuple(words(version))[:MOST_WORDS],
        licence=licence(version, model),
        sha256=next((digest for one in (*hashes, document) if (digest := digest_of(one))), ""),
        family=next((family for pattern, family in FAMILIES if re.match(pattern, base)), ""),
    )


def title(model: str, version_name: str, version: dict[str, Any]) -> str:
    """'DreamShaper 8': the model's name and its version's, as far as they are there."""
    name = version_name or (text(version, "name") if "modelId" in version else "")
    return " ".join(part for part in (model, "" if name == model else name) if part)[:300]


def licence(version: dict[str, Any], model: dict[str, Any]) -> str:
    stated = text(version, "license", "licence") or text(model, "license", "licence")
    if stated:
        return stated[:200]
    uses = next((one["allowCommercialUse"] for one in (model, version) if "allowCommercialUse" in one), None)
    if isinstance(uses, str):
        uses = [use for use in uses.strip("{}[]").split(",") if use]
    if not isinstance(uses, list):
        return ""
    allowed = [str(use) for use in uses if str(use) != "None"]
    return f"Civitai: commercial use {', '.join(allowed)}"[:200] if allowed else "Civitai: no commercial use"


def words(version: dict[str, Any]) -> Iterator[str]:
    listed = next((found for key in ("trainedWords", "TrainedWords") if isinstance(found := version.get(key), list)), [])
    phrases = [*listed, version.get("activation text")]
    for phrase in phrases:
        if isinstance(phrase, str):
            yield from (word for part in phrase.split(",") if (word := clean(part).strip()[:LONGEST_WORD]))


def digest_of(hashes: dict[str, Any]) -> str:
    found = text(hashes, "SHA256", "sha256")
    return found.lower() if SHA256.fullmatch(found) else ""


def table(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def tables(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def text(document: dict[str, Any], *keys: str) -> str:
    """The first of these values that is a text with something in it."""
    return next((clean(value).strip() for key in keys if isinstance(value := document.get(key), str) and value.strip()), "")


def clean(value: str) -> str:
    """Without what a database can't keep: NUL, and halves of characters."""
    return value.replace("\x00", "").encode("utf-8", "replace").decode()
