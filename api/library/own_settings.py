"""What the owner says of a file: NAME.darkroom.json beside it, or darkroom.json in a folder of diffusers'. Its keys are those of the
catalog's tables.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from api.catalog import CatalogError, ModelEntry, is_entry_name
from api.catalog.entries import AdapterEntry
from api.catalog.tables import Table, types_of
from api.json_types import JsonObject
from api.library.models import Kind
from api.library.sidecars import clean
from config.catalog import get_tables, why_no_scheduler

LARGEST = 100_000
ALWAYS = ("name", "licence")
OF_MODELS = (
    "base", "default_guidance_scale", "default_size", "default_steps", "guidance_rescale", "max_batch", "note", "prediction", "scheduler",
    "storage", "text_encoders", "vae", "zero_terminal_snr",
)  # fmt: skip
KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.CHECKPOINT: OF_MODELS,
    Kind.DENOISER: OF_MODELS,
    Kind.CONTROLNET: ("control", "family", "note"),
    Kind.IP_ADAPTER: ("family", "image_encoder", "note"),
    Kind.LORA: ("family", "trigger"),
    Kind.EMBEDDING: ("family",),
}
"""Beside ALWAYS, of what is not named here nothing."""
TYPES = {**types_of(ModelEntry), **types_of(AdapterEntry), "base": "str"}
PARTS = ("vae", "text_encoders")


class WrongSettings(CatalogError):
    """The sentence names the file and the key, and is kept with the row."""

    def __init__(self, complaint: str) -> None:
        super().__init__(f"Its settings are wrong: {clean(complaint)}")


@dataclass(frozen=True)
class OwnSettings:
    """As they were read; `values` are checked once it is known what the file is."""

    file_name: str = ""
    values: Any = field(default_factory=dict)

    def of(self, kind: Kind, family: str) -> dict[str, Any]:
        """Raises WrongSettings."""
        if not self.file_name:
            return {}
        try:
            table = Table(self.file_name, "settings", self.values)
            table.check_keys({key: TYPES[key] for key in (*ALWAYS, *KEYS.get(kind, ()))})
            table.check_values(table.values)
            check_names(table, family)
            check_letters(table)
        except CatalogError as error:
            raise WrongSettings(str(error)) from None
        return dict(table.values)


NONE = OwnSettings()


def read_own_settings(file: Path) -> OwnSettings:
    """Raises WrongSettings for what is no JSON object, or one with a key twice."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError("it is too large")
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=without_doubles, parse_constant=refuse_constant)
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
    except OSError as error:
        raise WrongSettings(f"{file.name}: it can't be read ({error.strerror}).") from None
    except RecursionError:
        raise WrongSettings(f"{file.name}: it is nested too deeply.") from None
    except ValueError as error:
        raise WrongSettings(f"{file.name}: {error}.") from None
    return OwnSettings(file.name, document)


def without_doubles(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has {max(keys, key=keys.count)!r} twice")
    return found


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def check_letters(table: Table) -> None:
    """Raises CatalogError."""
    for key, value in table.values.items():
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and clean(text) != text for text in texts):
            raise table.wrong(key, "has characters that can't be kept")


def check_names(table: Table, family: str) -> None:
    """What names something else. Raises CatalogError."""
    values = table.values
    stated = values.get("family", "")
    if stated and family and stated != family:
        raise table.wrong("family", f"is {stated!r}, and the file itself says {family}")
    if (scheduler := values.get("scheduler")) and (reason := why_no_scheduler(scheduler, family)):
        raise table.wrong("scheduler", reason)
    if (base := values.get("base")) and base not in get_tables().models:
        raise table.wrong("base", f"is {base!r}, and no table of the catalog has this id")
    for key in PARTS:
        given = values.get(key, [])
        for name in [given] if isinstance(given, str) else given:
            if name and (not is_entry_name(name) or os.path.isabs(name) or name.startswith("~")):
                raise table.wrong(key, "must name files of the library, by their ids, names or paths in it")
