"""Every model and adapter that this server offers, read from TOML. No torch, no Django.

The built-in catalog is catalog.toml beside this file; an owner adds or replaces tables in a file of their own (CATALOG_EXTRA):

    [models."my-model"]
    path = "/data/checkpoints/my-model"         # a diffusers folder; or repo = "owner/name" on the Hugging Face hub
    family = "sd1"
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.errors import DarkroomError
from api.json_types import JsonObject

API_FOLDER = Path(__file__).resolve().parent
BUILT_IN = API_FOLDER / "catalog.toml"
HUB = "https://huggingface.co/"

MODEL_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*){0,2}"
REPO_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*"
COMMIT_PATTERN = r"[0-9a-f]{40}"
MOST_COMPARED = 200
"""Characters of a wrong id that are compared with the known ones."""

TASKS = (
    "text-to-image",
    "image-text-to-text",
    "text-generation",
    "zero-shot-image-classification",
    "aesthetic-head",
    "image-aesthetics",
    "hazard-cells",
    "object-detection",
    "zero-shot-object-detection",
    "ocr",
)

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "int4")
ONNX_SUFFIXES = {
    "fp32": "",
    "fp16": "_fp16",
    "int8": "_int8",
    "uint8": "_uint8",
    "quantized": "_quantized",
    "q4": "_q4",
    "q4f16": "_q4f16",
    "bnb4": "_bnb4",
}
"""How the hub names the files of a variant: onnx/decoder_model_merged_q4.onnx."""
ONNX_DECODERS = ("decoder_model_merged", "model")
ONNX_PARTS = ("vision_encoder", "embed_tokens", *ONNX_DECODERS)
ONNX_PRESETS = {"Q4_MIXED": {"vision_encoder": "quantized", "embed_tokens": "quantized", **dict.fromkeys(ONNX_DECODERS, "q4")}}
"""Variants whose parts are of different ones."""
ONNX_PRECISIONS = {
    "fp32": ("fp32",),
    "fp16": ("fp16",),
    "int8": ("int8", "quantized", "uint8"),
    "int4": ("q4", "q4f16", "bnb4", "Q4_MIXED"),
    "bf16": (),
}
ONNX_FAMILIES = ("idefics3", "smolvlm", "llama", "mistral", "qwen2", "phi", "phi3", "gemma", "starcoder2")
"""What `export_onnx` can write: transformers' model_types, which are the catalog's families here."""
ONNX_WORDS = ("*.json", "*.jinja", "*.txt", "tokenizer.model")


@dataclass(frozen=True)
class ModelEntry:
    """One model. `repo` (on the hub) or `path` (a folder here) is set, never both."""

    id: str
    name: str
    task: str = "text-to-image"
    family: str = ""
    repo: str | None = None
    revision: str | None = None
    """The hub's commit. None: resolved at the first download, recorded, and required from then on (`pinned: first_use`)."""
    path: Path | None = None
    variant: str | None = None
    """Weights of this variant ("fp16") are preferred where the repository has them."""
    licence: str = "unknown"
    source: str = ""
    gated: bool = False
    """The owner must accept the licence on the hub and set HF_TOKEN."""
    default_size: int = 512
    default_steps: int = 25
    default_guidance_scale: float = 7.0
    parameters: int = 0
    memory: int = 0
    """Bytes of the weights at half precision; 0 is unknown. What is loaded is measured, this is only told to people."""
    max_batch: int = 1
    note: str = ""
    base: str = ""
    """The id of the model that this one stands on: a head's CLIP; for a CLIP without them, whose tokenizer and processor it takes."""
    files: tuple[str, ...] = ()
    """Glob patterns of the files to fetch, for repositories that are no plain diffusers or transformers checkpoint."""
    precision: str = ""
    """Of a chat model: in what it is computed. "" is the server's own setting."""
    package: str = ""
    """A Python package that brings the model; `path` then counts from its folder."""
    classes: tuple[str, ...] = ()
    """Of a detector in ONNX: the names of its classes, in the place of those in its file."""
    onnx: tuple[str, ...] = ()
    """Variants in ONNX that its onnx/ folder has, the one to take first."""
    onnx_only: bool = False
    """There are no other weights: this entry is the first of its variants."""
    onnx_variant: str = ""
    """Not in the file: the variant that is loaded, where the entry is one (`Catalog.get("id@onnx-int8")`)."""


@dataclass(frozen=True)
class AdapterEntry:
    """One LoRA: a single safetensors file, on the hub (`repo` and `filename`) or here (`path`)."""

    id: str
    name: str
    family: str = ""
    base: tuple[str, ...] = ()
    """Ids of the models that it fits; empty: any of its family."""
    repo: str | None = None
    revision: str | None = None
    filename: str | None = None
    path: Path | None = None
    licence: str = "unknown"
    trigger: str = ""
    """Words that a prompt needs for the adapter to act."""

    def fits(self, entry: ModelEntry) -> bool:
        return entry.id in self.base if self.base else entry.family == self.family


class CatalogError(ValueError):
    """A catalog file is wrong; the sentence names the file, the table and the key."""


class UnknownEntry(DarkroomError):
    """No such id; `nearest` holds the known ids most like it."""

    kind = "entry"

    def __init__(self, wanted: str, nearest: list[str]) -> None:
        self.id, self.nearest = wanted, nearest
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"unknown_{self.kind}", 400, f"There is no {self.kind} '{wanted}'.{hint}")


class UnknownModel(UnknownEntry):
    kind = "model"


class UnknownAdapter(UnknownEntry):
    kind = "adapter"


@dataclass(frozen=True)
class Catalog:
    models: dict[str, ModelEntry]
    adapters: dict[str, AdapterEntry]

    def get(self, model_id: str) -> ModelEntry:
        """The model of this id, or of this hub repository name; `id@onnx-int8` is a variant in ONNX. Raises UnknownModel."""
        if model_id in self.models:
            return self.models[model_id]
        plain, _, variant = model_id.partition("@")
        if variant:
            return onnx_variant(self.get(plain), variant)
        by_repo = next((entry for entry in self.models.values() if entry.repo == model_id), None)
        if by_repo is None:
            raise UnknownModel(model_id, _nearest(model_id, self.models))
        return by_repo

    def adapter(self, adapter_id: str) -> AdapterEntry:
        """Raises UnknownAdapter."""
        if adapter_id not in self.adapters:
            raise UnknownAdapter(adapter_id, _nearest(adapter_id, self.adapters))
        return self.adapters[adapter_id]

    def of_task(self, task: str) -> list[ModelEntry]:
        return [entry for entry in self.models.values() if entry.task == task]

    def with_precision(self, precision: str, tasks: Iterable[str]) -> Catalog:
        """The same, with this precision for the models of these tasks that name none."""
        models = {
            entry.id: dataclasses.replace(entry, precision=precision) if entry.task in tasks and not entry.precision else entry
            for entry in self.models.values()
        }
        return dataclasses.replace(self, models=models)

    def with_base(self, entry: ModelEntry) -> list[ModelEntry]:
        """All that is needed to use it: the model, and the one that it stands on."""
        return [entry, self.models[entry.base]] if entry.base else [entry]

    def adapters_for(self, model_id: str) -> list[AdapterEntry]:
        entry = self.get(model_id)
        return [adapter for adapter in self.adapters.values() if adapter.fits(entry)]


def onnx_variant(entry: ModelEntry, name: str) -> ModelEntry:
    """`onnx-int8` of its own repository or folder, `exported-int8` of what `export_onnx` made of it. Raises UnknownModel."""
    origin, _, variant = name.partition("-")
    if origin not in ("onnx", "exported") or variant not in {*ONNX_SUFFIXES, *ONNX_PRESETS}:
        raise UnknownModel(f"{entry.id}@{name}", [f"{entry.id}@onnx-{known}" for known in entry.onnx])
    return as_variant(entry, f"{entry.id}@{name}", variant)


def as_variant(entry: ModelEntry, model_id: str, variant: str) -> ModelEntry:
    patterns = (f"onnx/{part_file(part, variant)}*" for part in ONNX_PARTS)
    return dataclasses.replace(entry, id=model_id, onnx_variant=variant, variant=None, files=(*ONNX_WORDS, *patterns))


def part_file(part: str, variant: str) -> str:
    """decoder_model_merged_q4.onnx"""
    return f"{part}{ONNX_SUFFIXES[ONNX_PRESETS.get(variant, {}).get(part, variant)]}.onnx"


def onnx_files(folder: Path, variant: str) -> list[Path]:
    """The parts of a variant that lie in a model's folder."""
    files = (folder / "onnx" / part_file(part, variant) for part in ONNX_PARTS)
    return [file for file in files if file.is_file()]


def is_model_id(value: str) -> bool:
    """One to three segments joined by '/', with no '..' anywhere: never a path, a URL or a host."""
    return re.fullmatch(MODEL_ID_PATTERN, value) is not None and ".." not in value


def load_catalog(extra: Path | None = None) -> Catalog:
    """The built-in catalog, with the owner's tables added (a table of the same id replaces). Raises CatalogError."""
    models, adapters = _read(BUILT_IN, base=API_FOLDER, source="built-in")
    if extra is not None:
        more_models, more_adapters = _read(extra, base=extra.resolve().parent, source="local")
        models |= more_models
        adapters |= more_adapters
    _check_bases(extra or BUILT_IN, models)
    return Catalog(models=models, adapters=adapters)


def _check_bases(file: Path, models: dict[str, ModelEntry]) -> None:
    for entry in models.values():
        if entry.base and entry.base not in models:
            near = " or ".join(_nearest(entry.base, models))
            hint = f"; did you mean {near}?" if near else "."
            raise CatalogError(f'{file}, [models."{entry.id}"]: "base" is {entry.base!r}, and there is no such model{hint}')
        if entry.base and models[entry.base].base:
            raise CatalogError(
                f'{file}, [models."{entry.id}"]: "base" is {entry.base!r}, which stands on another model itself.'
            )


def _nearest(wanted: str, known: Iterable[str]) -> list[str]:
    """Up to three: first those that begin with what was written (a base model before what was made from it), then similar ones."""
    by_folded = {name.lower(): name for name in known}
    folded = wanted.lower()[:MOST_COMPARED]
    begun = sorted((name for name in by_folded if folded and name.startswith(folded)), key=lambda name: "base" not in name)
    similar = difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.5)
    return [by_folded[name] for name in list(dict.fromkeys([*begun, *similar]))[:3]]


def _read(file: Path, *, base: Path, source: str) -> tuple[dict[str, ModelEntry], dict[str, AdapterEntry]]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"The catalog {file} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"The catalog {file} is not valid TOML: {error}.") from error
    unknown = set(document) - {"models", "adapters"}
    if unknown:
        raise CatalogError(f"{file}: unknown table [{min(unknown)}]; there are only [models.…] and [adapters.…].")
    models = {
        model_id: _model(_Table(file, "models", model_id, values), base=base, source=source)
        for model_id, values in _tables(file, document, "models")
    }
    adapters = {
        adapter_id: _adapter(_Table(file, "adapters", adapter_id, values), base=base)
        for adapter_id, values in _tables(file, document, "adapters")
    }
    return models, adapters


def _tables(file: Path, document: JsonObject, kind: str) -> list[tuple[str, Any]]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise CatalogError(f'{file}: "{kind}" must be tables: [{kind}."my-id"].')
    return list(tables.items())


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

    def check(self, kind: type[ModelEntry | AdapterEntry]) -> None:
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
    lists = {key: tuple(table.values.get(key, ())) for key in ("files", "onnx", "classes")}
    values = {"name": table.id, **table.values, "path": table.path(base), **lists}
    if values.get("task", TASKS[0]) not in TASKS:
        raise table.wrong("task", f"must be one of {', '.join(TASKS)}")
    if values.get("precision", "auto") not in PRECISIONS:
        raise table.wrong("precision", f"must be one of {', '.join(PRECISIONS)}")
    if strange := set(lists["onnx"]) - {*ONNX_SUFFIXES, *ONNX_PRESETS}:
        raise table.wrong("onnx", f"has {min(strange)!r}; variants are {', '.join([*ONNX_SUFFIXES, *ONNX_PRESETS])}")
    size = values.get("default_size", 512)
    if size % 8 or not 64 <= size <= 2048:
        raise table.wrong("default_size", "must be a multiple of 8 from 64 to 2048")
    if not 1 <= values.get("default_steps", 1) <= 150:
        raise table.wrong("default_steps", "must be from 1 to 150")
    if not 1 <= values.get("max_batch", 1) <= 64:
        raise table.wrong("max_batch", "must be from 1 to 64")
    entry = ModelEntry(id=table.id, source=HUB + values["repo"] if "repo" in values else source, **values)
    if not entry.onnx_only:
        return entry
    if not entry.onnx:
        raise table.wrong("onnx_only", 'goes with "onnx", the variants that there are')
    return as_variant(entry, entry.id, entry.onnx[0])


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
