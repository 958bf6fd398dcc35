"""What a table of the catalog may say, whatever file it is in."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any

from api.catalog.control_kinds import CONTROL_KINDS
from api.catalog.entries import (
    COMMIT_PATTERN,
    PRECISIONS,
    PREDICTIONS,
    REPO_PATTERN,
    TASKS,
    AdapterEntry,
    EmbeddingEntry,
    ModelEntry,
    is_model_id,
)
from api.catalog.onnx_variants import ONNX_PRESETS, ONNX_SUFFIXES
from api.catalog.single_files import SUFFIXES
from api.catalog.storages import STORAGES

CHOICES = {
    "task": TASKS,
    "precision": PRECISIONS,
    "prediction": PREDICTIONS,
    "storage": ("", *STORAGES),
}
HIDDEN = ("id", "source", "sha256", "onnx_variant")


class CatalogError(ValueError):
    """A catalog file is wrong; the sentence names the file, the table and the key."""


def types_of(kind: type[ModelEntry | AdapterEntry | EmbeddingEntry]) -> dict[str, str]:
    """By key, as the entry's class has them annotated."""
    return {field.name: str(field.type) for field in dataclasses.fields(kind) if field.name not in HIDDEN}


class Table:
    """One table of a catalog file, or what lies beside a file of the library; every complaint says where it is, and names the key."""

    def __init__(self, where: str, entry_id: str, values: Any) -> None:
        self.where, self.id, self.values = where, entry_id, values
        if not isinstance(values, dict):
            raise CatalogError(f"{self.where}: must be a table.")
        if not is_model_id(entry_id):
            raise CatalogError(
                f"{self.where}: an id is one to three segments of letters, digits, '_', '.', '-', joined by '/'."
            )

    def wrong(self, key: str, reason: str) -> CatalogError:
        return CatalogError(f'{self.where}: "{key}" {reason}.')

    def check(self, kind: type[ModelEntry | AdapterEntry | EmbeddingEntry]) -> None:
        """Every key is known and of its type; numbers are not negative."""
        self.check_keys(types_of(kind))
        if ("repo" in self.values) == ("path" in self.values):
            raise self.wrong("repo", 'or "path" must be given, one of them')
        self.check_pattern("package", r"[A-Za-z_][A-Za-z0-9_]*", "must be the name of a Python package")
        self.check_pattern("repo", REPO_PATTERN, "must be a hub repository, owner/name")
        self.check_pattern("revision", COMMIT_PATTERN, "must be a full commit of 40 hexadecimal digits")
        self.check_pattern("variant", r"[a-z0-9_]+", "must be a variant's name, such as fp16")

    def check_keys(self, wanted: Mapping[str, str]) -> None:
        """`wanted`: the type of each key."""
        for key, value in self.values.items():
            if key not in wanted:
                near = difflib.get_close_matches(key, wanted, n=1)
                raise self.wrong(key, "is not a key" + (f"; did you mean {near[0]}?" if near else ""))
            self._check_type(key, value, wanted[key])

    def check_values(self, values: dict[str, Any]) -> None:
        """What may be, of a model's values that have the right types."""
        for key, allowed in CHOICES.items():
            if key in values and values[key] not in allowed:
                raise self.wrong(key, f"must be one of {', '.join(filter(None, allowed))}")
        if values.get("single_file") and (values["path"] is None or values["path"].suffix not in SUFFIXES):
            raise self.wrong("single_file", 'goes with a "path" that is a safetensors or GGUF file')
        if strange := set(values.get("control", ())) - set(CONTROL_KINDS):
            raise self.wrong("control", f"has {min(strange)!r}; kinds of maps are {', '.join(CONTROL_KINDS)}")
        if strange := set(values.get("onnx", ())) - {*ONNX_SUFFIXES, *ONNX_PRESETS}:
            raise self.wrong("onnx", f"has {min(strange)!r}; variants are {', '.join([*ONNX_SUFFIXES, *ONNX_PRESETS])}")
        size = values.get("default_size", 512)
        if size % 8 or not 64 <= size <= 2048:
            raise self.wrong("default_size", "must be a multiple of 8 from 64 to 2048")
        if not 1 <= values.get("default_steps", 1) <= 150:
            raise self.wrong("default_steps", "must be from 1 to 150")
        if values.get("guidance_rescale", 0) > 1:
            raise self.wrong("guidance_rescale", "must be from 0 to 1")
        if not 1 <= values.get("max_batch", 1) <= 64:
            raise self.wrong("max_batch", "must be from 1 to 64")

    def _check_type(self, key: str, value: object, annotation: str) -> None:
        if annotation.startswith("tuple"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise self.wrong(key, "must be a list of texts")
        elif annotation == "bool":
            if not isinstance(value, bool):
                raise self.wrong(key, "must be true or false")
        elif annotation in ("int", "float"):
            allowed = (int,) if annotation == "int" else (int, float)
            if isinstance(value, bool) or not isinstance(value, allowed) or not 0 <= value < float("inf"):
                raise self.wrong(key, f"must be a number{' without a fraction' if annotation == 'int' else ''}, 0 or more")
        elif not isinstance(value, str):
            raise self.wrong(key, "must be a text")

    def check_pattern(self, key: str, pattern: str, reason: str) -> None:
        value = self.values.get(key)
        if value is not None and (re.fullmatch(pattern, value) is None or ".." in value):
            raise self.wrong(key, reason)
