"""The catalog's TOML files: the built-in one, and the owner's. Every complaint names the file, the table and the key."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

from api.catalog.control_kinds import CONTROL_KINDS
from api.catalog.entries import (
    COMMIT_PATTERN,
    PRECISIONS,
    PREDICTIONS,
    REPO_PATTERN,
    TASKS,
    TEXT_TO_IMAGE,
    AdapterEntry,
    EmbeddingEntry,
    ModelEntry,
    is_model_id,
)
from api.catalog.lookup import Catalog
from api.catalog.lookup_errors import nearest
from api.catalog.onnx_variants import ONNX_PRESETS, ONNX_SUFFIXES, as_variant
from api.catalog.single_files import SINGLE_FILE_TASKS, SUFFIXES, defaults_of_file
from api.catalog.storages import STORAGES
from api.json_types import JsonObject

BUILT_IN = Path(__file__).resolve().parent / "catalog.toml"
API_FOLDER = BUILT_IN.parents[1]
HUB = "https://huggingface.co/"
KINDS = ("models", "adapters", "embeddings")


class CatalogError(ValueError):
    """A catalog file is wrong; the sentence names the file, the table and the key."""


def load_catalog(extra: Path | None = None) -> Catalog:
    """The built-in catalog, with the owner's tables added (a table of the same id replaces). Raises CatalogError."""
    catalog = _read(BUILT_IN, base=API_FOLDER, source="built-in")
    if extra is not None:
        more = _read(extra, base=extra.resolve().parent, source="local")
        catalog = Catalog(
            models=catalog.models | more.models,
            adapters=catalog.adapters | more.adapters,
            embeddings=catalog.embeddings | more.embeddings,
        )
    _check_bases(extra or BUILT_IN, catalog.models)
    return catalog


def _check_bases(file: Path, models: dict[str, ModelEntry]) -> None:
    for entry in models.values():
        if entry.base and entry.base not in models:
            near = " or ".join(nearest(entry.base, models))
            hint = f"; did you mean {near}?" if near else "."
            raise CatalogError(f'{file}, [models."{entry.id}"]: "base" is {entry.base!r}, and there is no such model{hint}')
        if entry.base and models[entry.base].base:
            raise CatalogError(
                f'{file}, [models."{entry.id}"]: "base" is {entry.base!r}, which stands on another model itself.'
            )


def _read(file: Path, *, base: Path, source: str) -> Catalog:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"The catalog {file} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"The catalog {file} is not valid TOML: {error}.") from error
    unknown = set(document) - set(KINDS)
    if unknown:
        known = ", ".join(f"[{kind}.…]" for kind in KINDS)
        raise CatalogError(f"{file}: unknown table [{min(unknown)}]; there are only {known}.")
    tables = {kind: _tables(file, document, kind) for kind in KINDS}
    return Catalog(
        models={table.id: _model(table, base=base, source=source) for table in tables["models"]},
        adapters={table.id: _adapter(table, base=base) for table in tables["adapters"]},
        embeddings={table.id: _embedding(table, base=base) for table in tables["embeddings"]},
    )


def _tables(file: Path, document: JsonObject, kind: str) -> list[_Table]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise CatalogError(f'{file}: "{kind}" must be tables: [{kind}."my-id"].')
    return [_Table(file, kind, entry_id, values) for entry_id, values in tables.items()]


class _Table:
    """One table of a catalog file; every complaint names the file, the table and the key."""

    def __init__(self, file: Path, kind: str, entry_id: str, values: Any) -> None:
        self.where = f'{file}, [{kind}."{entry_id}"]'
        self.id, self.values = entry_id, values
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
        hidden = ("id", "source", "onnx_variant")
        wanted = {field.name: str(field.type) for field in dataclasses.fields(kind) if field.name not in hidden}
        for key, value in self.values.items():
            if key not in wanted:
                near = difflib.get_close_matches(key, wanted, n=1)
                raise self.wrong(key, "is not a key" + (f"; did you mean {near[0]}?" if near else ""))
            self._check_type(key, value, wanted[key])
        if ("repo" in self.values) == ("path" in self.values):
            raise self.wrong("repo", 'or "path" must be given, one of them')
        self.check_pattern("package", r"[A-Za-z_][A-Za-z0-9_]*", "must be the name of a Python package")
        self.check_pattern("repo", REPO_PATTERN, "must be a hub repository, owner/name")
        self.check_pattern("revision", COMMIT_PATTERN, "must be a full commit of 40 hexadecimal digits")
        self.check_pattern("variant", r"[a-z0-9_]+", "must be a variant's name, such as fp16")

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

    def path(self, base: Path) -> Path | None:
        """Relative paths count from the folder of the entry's package, or else from the catalog file's own."""
        if "path" not in self.values:
            return None
        return folder_of_package(self.values.get("package", ""), base) / Path(self.values["path"]).expanduser()


def folder_of_package(name: str, base: Path) -> Path:
    """Where it is installed, without importing it; `base` without a name; a folder that isn't there where it is not installed."""
    if not name:
        return base
    found = importlib.util.find_spec(name)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else base / name


def _model(table: _Table, *, base: Path, source: str) -> ModelEntry:
    table.check(ModelEntry)
    lists = {key: tuple(table.values.get(key, ())) for key in ("files", "onnx", "classes", "control", "text_encoders")}
    values = {"name": table.id, **table.values, "path": table.path(base), **lists}
    if "vae" in values:
        values["vae"] = _part(values["vae"], base)
    lists["text_encoders"] = tuple(_part(name, base) for name in lists["text_encoders"])
    values |= lists
    if "features" in values:
        values["features"] = tuple(values["features"])
    if _is_single_file(values):
        values = {**defaults_of_file(values["path"], values.get("task", TEXT_TO_IMAGE)), "single_file": True, **values}
    if values.get("task", TASKS[0]) not in TASKS:
        raise table.wrong("task", f"must be one of {', '.join(TASKS)}")
    if values.get("precision", "auto") not in PRECISIONS:
        raise table.wrong("precision", f"must be one of {', '.join(PRECISIONS)}")
    if values.get("prediction", "") not in PREDICTIONS:
        raise table.wrong("prediction", f"must be one of {', '.join(filter(None, PREDICTIONS))}")
    if values.get("storage", "") not in ("", *STORAGES):
        raise table.wrong("storage", f"must be one of {', '.join(STORAGES)}")
    if values.get("single_file") and (values["path"] is None or values["path"].suffix not in SUFFIXES):
        raise table.wrong("single_file", 'goes with a "path" that is a safetensors or GGUF file')
    if strange := set(lists["control"]) - set(CONTROL_KINDS):
        raise table.wrong("control", f"has {min(strange)!r}; kinds of maps are {', '.join(CONTROL_KINDS)}")
    if strange := set(lists["onnx"]) - {*ONNX_SUFFIXES, *ONNX_PRESETS}:
        raise table.wrong("onnx", f"has {min(strange)!r}; variants are {', '.join([*ONNX_SUFFIXES, *ONNX_PRESETS])}")
    size = values.get("default_size", 512)
    if size % 8 or not 64 <= size <= 2048:
        raise table.wrong("default_size", "must be a multiple of 8 from 64 to 2048")
    if not 1 <= values.get("default_steps", 1) <= 150:
        raise table.wrong("default_steps", "must be from 1 to 150")
    if values.get("guidance_rescale", 0) > 1:
        raise table.wrong("guidance_rescale", "must be from 0 to 1")
    if not 1 <= values.get("max_batch", 1) <= 64:
        raise table.wrong("max_batch", "must be from 1 to 64")
    entry = ModelEntry(id=table.id, source=HUB + values["repo"] if "repo" in values else source, **values)
    if not entry.onnx_only:
        return entry
    if not entry.onnx:
        raise table.wrong("onnx_only", 'goes with "onnx", the variants that there are')
    return as_variant(entry, entry.id, entry.onnx[0])


def _part(value: str, base: Path) -> str:
    """The path of a file; or the name of one in the library, which is looked for when it is needed."""
    file = base / Path(value).expanduser()
    return str(file) if "/" in value or file.is_file() else value


def _is_single_file(values: dict[str, Any]) -> bool:
    """The table needn't say so: a model of these tasks that is a file is a single file."""
    path, task = values["path"], values.get("task", TEXT_TO_IMAGE)
    return path is not None and path.suffix in SUFFIXES and task in SINGLE_FILE_TASKS


def _adapter(table: _Table, *, base: Path) -> AdapterEntry:
    table.check(AdapterEntry)
    values = {"name": table.id, **table.values, "path": table.path(base), "base": tuple(table.values.get("base", ()))}
    if not (values["base"] or values.get("family")):
        raise table.wrong("family", 'or "base" must say which models it fits')
    if "repo" in values:
        if not values.get("filename"):
            raise table.wrong("filename", "must name the safetensors file in the repository")
        table.check_pattern(
            "filename", r"(?:[A-Za-z0-9_][\w.-]*/)*[\w.-]+\.safetensors", "must be a safetensors file in the repository"
        )
    elif values["path"].suffix != ".safetensors":
        raise table.wrong("path", "must be a safetensors file")
    return AdapterEntry(id=table.id, **values)


def _embedding(table: _Table, *, base: Path) -> EmbeddingEntry:
    table.check(EmbeddingEntry)
    path = table.path(base)
    if path is None or path.suffix != ".safetensors":
        raise table.wrong("path", "must be a safetensors file")
    if not table.values.get("family"):
        raise table.wrong("family", "must say which models it fits")
    return EmbeddingEntry(
        id=table.id,
        name=table.values.get("name", table.id),
        path=path,
        family=table.values["family"],
        aliases=tuple(table.values.get("aliases", ())),
    )
