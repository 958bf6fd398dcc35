"""Every model, adapter and embedding that a request may name: the catalog's tables first, then the library's files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.db.models import Q, QuerySet
from django.urls import reverse

from api.catalog import TEXT_TO_IMAGE, UPSCALING, AdapterEntry, EmbeddingEntry, ModelEntry
from api.catalog.single_files import why_not, why_not_stored
from api.json_types import JsonObject
from api.library.entries import SOURCE, UNKNOWN_LICENCE, model_entry
from api.library.models import LOADED_KINDS, Kind, LibraryFile
from api.system.selectors import is_available, live_workers, loaded_ids
from config.catalog import get_catalog

OTHER_MODEL = "model"
KIND_OF_TASK = {TEXT_TO_IMAGE: Kind.CHECKPOINT.value, UPSCALING: Kind.UPSCALER.value}
MODEL_LIST_KINDS = (*Kind.values, OTHER_MODEL)
BATCH = 200
"""Files that are read and described at once: a whole library in Python's objects takes four times its JSON."""
MOST_ADAPTERS = 10
"""Of the library, that are named with each model."""
OF_ENTRY = (
    "id", "name", "task", "family", "source", "licence", "gated", "default_size", "default_steps", "default_guidance_scale",
    "scheduler", "storage", "parameters", "memory", "note",
)  # fmt: skip
NO_MODEL: JsonObject = {
    "task": "", "gated": False, "default_size": 0, "default_steps": 0, "default_guidance_scale": 0.0, "scheduler": "",
    "storage": "", "parameters": 0, "memory": 0,
    "loaded": False, "note": "", "adapters": [],
}  # fmt: skip
NO_FILE: JsonObject = {
    "size": None, "file_name": None, "path": None, "usable": True, "reason": "", "precision": "", "few_step": "", "trigger_words": [],
    "hashes": None, "preview_url": None,
}  # fmt: skip


@dataclass
class ModelList:
    """`kind` "" is everything that a request names as its model. Paths are for staff."""

    kind: str = ""
    family: str = ""
    q: str = ""
    limit: int = 1000
    with_paths: bool = False

    def batches(self) -> Iterator[list[JsonObject]]:
        """The first `limit`. Batches of files are each a query of their own: the caller may ask for each in another thread."""
        yield self.tables[: self.limit]
        wanted = list(self.files().values_list("pk", flat=True)[: max(0, self.limit - len(self.tables))])
        for start in range(0, len(wanted), BATCH):
            pks = wanted[start : start + BATCH]
            rows = LibraryFile.objects.in_bulk(pks)
            yield [self.describe_file(rows[pk]) for pk in pks if pk in rows]

    @cached_property
    def total(self) -> int:
        """How many there are, whatever the limit."""
        return len(self.tables) + self.files().count()

    @cached_property
    def tables(self) -> list[JsonObject]:
        return [described for described in self.of_tables() if self.is_wanted(described)]

    @cached_property
    def loaded(self) -> set[str]:
        return {name.partition("@")[0] for name in loaded_ids(live_workers())}

    # ------------------------------------------------------------ the tables

    def of_tables(self) -> Iterator[JsonObject]:
        catalog = get_catalog()
        if self.kind in ("", *KIND_OF_TASK.values(), OTHER_MODEL):
            yield from (self.describe_model(entry) for entry in catalog.models.values())
        if self.kind == Kind.LORA:
            yield from (describe_part(Kind.LORA, entry) for entry in catalog.adapters.values())
        if self.kind == Kind.EMBEDDING:
            yield from (describe_part(Kind.EMBEDDING, entry) for entry in catalog.embeddings.values())

    def is_wanted(self, described: JsonObject) -> bool:
        return (
            self.kind in ("", described["kind"])
            and self.family in ("", described["family"])
            and any(self.q.lower() in str(described[name]).lower() for name in ("id", "name"))
        )

    def describe_model(self, entry: ModelEntry) -> JsonObject:
        reason = why_not_stored(entry) if entry.single_file else why_not(entry)  # a file's header is read elsewhere
        return {
            **{name: getattr(entry, name) for name in OF_ENTRY},
            **NO_FILE,
            "usable": not reason,
            "reason": reason,
            "kind": KIND_OF_TASK.get(entry.task, OTHER_MODEL),
            "available": is_available(entry),
            "loaded": entry.id in self.loaded,
            "adapters": self.adapters_of(entry),
        }

    def adapters_of(self, entry: ModelEntry) -> list[str]:
        fitting = [adapter.id for adapter in get_catalog().adapters.values() if adapter.fits(entry)]
        return [*fitting, *self.library_adapters.get(entry.family, ())] if entry.task == TEXT_TO_IMAGE else fitting

    @cached_property
    def library_adapters(self) -> dict[str, list[str]]:
        """By family."""
        if not settings.LIBRARY_DIRS:
            return {}
        loras = LibraryFile.objects.usable().filter(kind=Kind.LORA)
        families = LibraryFile.objects.filter(kind=Kind.LORA).order_by("family").values_list("family", flat=True).distinct()
        return {
            family: list(loras.filter(family=family).values_list("entry_id", flat=True)[:MOST_ADAPTERS]) for family in families
        }

    # ------------------------------------------------------------ the library

    def files(self) -> QuerySet[LibraryFile]:
        if not settings.LIBRARY_DIRS or self.kind == OTHER_MODEL:
            return LibraryFile.objects.none()
        rows = LibraryFile.objects.present().filter(kind__in=[self.kind] if self.kind else LOADED_KINDS)
        rows = rows.filter(family=self.family) if self.family else rows
        named = Q(entry_id__icontains=self.q) | Q(name__icontains=self.q) | Q(file_name__icontains=self.q)
        return rows.filter(named) if self.q else rows

    def describe_file(self, row: LibraryFile) -> JsonObject:
        is_named = row.kind in LOADED_KINDS
        entry = model_entry(row)
        reason = row.why_not or sentence(why_not_stored(entry))
        model = {
            **{name: getattr(entry, name) for name in OF_ENTRY},
            "loaded": row.entry_id in self.loaded,
            "adapters": self.adapters_of(entry),
        }
        return {
            **(model if is_named else {**NO_MODEL, "parameters": row.parameters}),
            "id": row.entry_id,
            "name": row.name,
            "kind": row.kind,
            "family": row.family,
            "source": SOURCE,
            "licence": row.licence or UNKNOWN_LICENCE,
            "available": not reason,
            "size": row.size,
            "file_name": row.file_name,
            "path": row.path if self.with_paths else None,
            "usable": not reason,
            "reason": reason,
            "precision": row.precision,
            "few_step": row.few_step,
            "trigger_words": row.trigger_words,
            "hashes": describe_hashes(row),
            "preview_url": reverse("model-preview", args=[row.entry_id]) if row.preview else None,
        }


def sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}." if clause else ""


def describe_part(kind: Kind, entry: AdapterEntry | EmbeddingEntry) -> JsonObject:
    """An adapter or an embedding of the catalog's tables."""
    licence = entry.licence if isinstance(entry, AdapterEntry) else UNKNOWN_LICENCE
    own = {"id": entry.id, "name": entry.name, "family": entry.family, "kind": kind.value}
    trigger = [entry.trigger] if isinstance(entry, AdapterEntry) and entry.trigger else []
    here = entry.path is not None and entry.path.is_file()
    return {**NO_MODEL, **NO_FILE, **own, "source": "catalog", "licence": licence, "available": here, "trigger_words": trigger}


def describe_hashes(row: LibraryFile) -> JsonObject | None:
    if not row.sha256:
        return None
    return {"sha256": row.sha256, "autov2": row.autov2, "autov3": row.autov3, "short": row.short_hash}
