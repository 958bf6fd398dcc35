"""The catalog's TOML files: the built-in one, and the owner's. Every complaint names the file, the table and the key."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from api.catalog.entries import (
    TEXT_TO_IMAGE,
    AdapterEntry,
    EmbeddingEntry,
    ModelEntry,
)
from api.catalog.lookup import Catalog
from api.catalog.lookup_errors import nearest
from api.catalog.onnx_variants import as_variant
from api.catalog.single_files import SINGLE_FILE_TASKS, SUFFIXES, defaults_of_file
from api.catalog.tables import CatalogError, Table
from api.json_types import JsonObject

BUILT_IN = Path(__file__).resolve().parent / "catalog.toml"
API_FOLDER = BUILT_IN.parents[1]
HUB = "https://huggingface.co/"
KINDS = ("models", "adapters", "embeddings")


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


def _tables(file: Path, document: JsonObject, kind: str) -> list[Table]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise CatalogError(f'{file}: "{kind}" must be tables: [{kind}."my-id"].')
    return [Table(f'{file}, [{kind}."{entry_id}"]', entry_id, values) for entry_id, values in tables.items()]


def path_of(table: Table, base: Path) -> Path | None:
    """Relative paths count from the folder of the entry's package, or else from the catalog file's own."""
    if "path" not in table.values:
        return None
    return folder_of_package(table.values.get("package", ""), base) / Path(table.values["path"]).expanduser()


def folder_of_package(name: str, base: Path) -> Path:
    """Where it is installed, without importing it; `base` without a name; a folder that isn't there where it is not installed."""
    if not name:
        return base
    found = importlib.util.find_spec(name)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else base / name


def _model(table: Table, *, base: Path, source: str) -> ModelEntry:
    table.check(ModelEntry)
    lists = {key: tuple(table.values.get(key, ())) for key in ("files", "onnx", "classes", "control", "text_encoders")}
    values = {"name": table.id, **table.values, "path": path_of(table, base), **lists}
    if "vae" in values:
        values["vae"] = _part(values["vae"], base)
    lists["text_encoders"] = tuple(_part(name, base) for name in lists["text_encoders"])
    values |= lists
    if "features" in values:
        values["features"] = tuple(values["features"])
    if _is_single_file(values):
        values = {**defaults_of_file(values["path"], values.get("task", TEXT_TO_IMAGE)), "single_file": True, **values}
    table.check_values(values)
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


def _adapter(table: Table, *, base: Path) -> AdapterEntry:
    table.check(AdapterEntry)
    values = {"name": table.id, **table.values, "path": path_of(table, base), "base": tuple(table.values.get("base", ()))}
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


def _embedding(table: Table, *, base: Path) -> EmbeddingEntry:
    table.check(EmbeddingEntry)
    path = path_of(table, base)
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
