"""The library as the catalog's EntrySource: each look-up asks the database. A new file is known at once; 10,000 take no memory."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from django.db.models import Q, QuerySet

from api.catalog import (
    TEXT_TO_IMAGE,
    AdapterEntry,
    AmbiguousAdapter,
    AmbiguousEmbedding,
    AmbiguousModel,
    AmbiguousPart,
    EmbeddingEntry,
    ModelEntry,
    UnknownEntry,
)
from api.catalog.source import PartKind
from api.library.entries import adapter_entry, embedding_entry, model_entry
from api.library.models import AUTOV2_DIGITS, AUTOV3_DIGITS, LOADED_KINDS, MODEL_KINDS, TASKS, Kind, LibraryFile

HASH = re.compile(r"[0-9a-fA-F]{8}|[0-9a-fA-F]{10}|[0-9a-fA-F]{12}|[0-9a-fA-F]{64}")
LONGEST_FILE_NAME = 255
MOST_OFFERED = 10_000
MOST_SIMILAR = 3
KINDS: dict[str, Sequence[Kind]] = {
    "model": LOADED_KINDS,
    "adapter": [Kind.LORA],
    "embedding": [Kind.EMBEDDING],
    "VAE": [Kind.VAE],
    "text encoder": [Kind.TEXT_ENCODER],
}


class LibrarySource:
    def find_model(self, name: str) -> ModelEntry | None:
        row = find_usable(name, MODEL_KINDS, AmbiguousModel) or find_usable(name, tuple(TASKS), AmbiguousModel)
        return model_entry(row) if row else None

    def find_adapter(self, name: str) -> AdapterEntry | None:
        row = find_usable(name, [Kind.LORA], AmbiguousAdapter)
        return adapter_entry(row) if row else None

    def find_embedding(self, name: str) -> EmbeddingEntry | None:
        row = find_usable(name, [Kind.EMBEDDING], AmbiguousEmbedding)
        return embedding_entry(row) if row else None

    def find_part(self, kind: PartKind, name: str) -> Path | None:
        row = find_usable(name, KINDS[kind], AmbiguousPart)
        return Path(row.path) if row else None

    def models(self, task: str) -> list[ModelEntry]:
        kinds = MODEL_KINDS if task == TEXT_TO_IMAGE else [kind for kind, of_kind in TASKS.items() if of_kind == task]
        return [model_entry(row) for row in LibraryFile.objects.usable().filter(kind__in=kinds)[:MOST_OFFERED]] if kinds else []

    def adapters(self, family: str) -> list[AdapterEntry]:
        return [adapter_entry(row) for row in usable_of(Kind.LORA, family)]

    def embeddings(self, family: str) -> list[EmbeddingEntry]:
        return [embedding_entry(row) for row in usable_of(Kind.EMBEDDING, family)]

    def why_not(self, name: str) -> str:
        rows = list(named(name, LibraryFile.objects.all())[:2])
        if not rows:
            return ""
        row = rows[0]
        reason = gone(row) if is_gone(row) else row.why_not
        return f"'{shown(name)}' can't be used: {reason}" if reason else f"'{shown(name)}' is {KIND_WORDS[Kind(row.kind)]}."

    def similar(self, kind: str, name: str) -> list[str]:
        begun = LibraryFile.objects.usable().filter(kind__in=KINDS[kind])
        start = "" if "\x00" in name else name[:LONGEST_FILE_NAME]  # which PostgreSQL refuses in any text
        found = begun.filter(Q(entry_id__istartswith=start) | Q(stem__istartswith=start)) if start else begun.none()
        return list(found.order_by("entry_id").values_list("entry_id", flat=True)[:MOST_SIMILAR])


KIND_WORDS = {
    Kind.CHECKPOINT: "a checkpoint",
    Kind.DENOISER: "a denoiser",
    Kind.LORA: "a LoRA, which goes into `loras`",
    Kind.EMBEDDING: "an embedding, which is named in the prompt",
    Kind.VAE: "a VAE",
    Kind.TEXT_ENCODER: "a text encoder",
    Kind.CONTROLNET: "a ControlNet, which goes into `control`",
    Kind.IP_ADAPTER: "an IP-Adapter, which goes into `ip_adapter`",
    Kind.IMAGE_ENCODER: "what reads the pictures of IP-Adapters",
    Kind.UPSCALER: "an upscaler",
    Kind.UNKNOWN: "of no kind that is known here",
}


def usable_of(kind: Kind, family: str) -> QuerySet[LibraryFile]:
    return LibraryFile.objects.usable().filter(kind=kind, family=family)[:MOST_OFFERED]


def find_usable(name: str, kinds: Sequence[Kind], ambiguous: type) -> LibraryFile | None:
    """By id, by the file's name with or without its ending, by its path below the folder, or by a hash."""
    rows = list(named(name, LibraryFile.objects.usable().filter(kind__in=kinds))[:MOST_OFFERED])
    here = [row for row in rows if not is_gone(row)]
    if len(here) > 1:
        error: UnknownEntry = ambiguous(shown(name), sorted(row.entry_id for row in here))
        raise error
    return here[0] if here else None


def named(name: str, rows: QuerySet[LibraryFile]) -> QuerySet[LibraryFile]:
    """Those of the first way of naming that finds any."""
    if "\x00" in name or len(name) > 4096:
        return rows.none()
    own = rows.filter(entry_id=name)
    if own.exists():
        return own
    path, _, file_name = name.replace("\\", "/").rpartition("/")
    by_name = rows.filter(Q(file_name=file_name) | Q(stem=file_name))
    if path:
        pks = [row.pk for row in by_name if name in relative_names(row)]
        by_name = rows.filter(pk__in=pks)
    if by_name.exists() or not HASH.fullmatch(name):
        return by_name
    return by_hash(name.lower(), rows)


def relative_names(row: LibraryFile) -> tuple[str, ...]:
    """'SDXL/my model.safetensors', with and without the ending, and as A1111 writes them on Windows."""
    path = row.relative_path
    plain = path if row.is_folder else os.path.splitext(path)[0]
    return path, plain, path.replace("/", "\\"), plain.replace("/", "\\")


def by_hash(digits: str, rows: QuerySet[LibraryFile]) -> QuerySet[LibraryFile]:
    if len(digits) == AUTOV2_DIGITS or len(digits) == 64:
        return rows.filter(sha256__startswith=digits)
    if len(digits) == AUTOV3_DIGITS:
        return rows.filter(Q(content_sha256__startswith=digits) | Q(sha256__startswith=digits))
    return rows.filter(short_hash=digits)


def is_gone(row: LibraryFile) -> bool:
    """Since the last scan. Where the whole folder can't be seen from here, that is for the worker to find out."""
    return row.missing_since is not None or (os.path.isdir(row.root) and not os.path.exists(row.path))


def gone(row: LibraryFile) -> str:
    return f"The file {row.file_name} is not there any more."


def shown(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:200]}…"
