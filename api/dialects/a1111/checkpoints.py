"""Models by AUTOMATIC1111's names of them: the title that its clients choose by, the file's name, the hash."""

import re
from dataclasses import dataclass

from rest_framework.exceptions import ValidationError

from api.catalog import LONGEST_NAME, TEXT_TO_IMAGE, ModelEntry, UnknownModel
from api.images.png_info.resolving import find_model, names_like
from api.images.serializers import find_default
from api.library.entries import SOURCE
from api.library.models import MODEL_KINDS, LibraryFile
from api.system.selectors import is_available
from config.catalog import get_catalog

HASHED = re.compile(r"(.+) \[([0-9a-fA-F]{8,64})\]")
MOST_NAMED = 20


@dataclass(frozen=True)
class Checkpoint:
    """`name` is the file's with its folder, or the id of a model that is no file of the library."""

    entry: ModelEntry
    name: str
    sha256: str = ""
    autov2: str = ""

    @property
    def title(self) -> str:
        return f"{self.name} [{self.autov2}]" if self.autov2 else self.name

    @property
    def model_name(self) -> str:
        """Without the ending."""
        return self.name.replace("\\", "_").replace("/", "_").removesuffix(".safetensors").removesuffix(".gguf")


def list_checkpoints() -> list[Checkpoint]:
    """What can be used without a download, and the default model in any case."""
    entries = {entry.id: entry for entry in [find_default(None), *get_catalog().of_task(TEXT_TO_IMAGE)] if is_offered(entry)}
    files = LibraryFile.objects.usable().filter(kind__in=MODEL_KINDS)
    rows = {row.entry_id: row for row in files if row.entry_id in entries}
    return [as_checkpoint(entry, rows.get(entry.id)) for entry in entries.values()]


def is_offered(entry: ModelEntry) -> bool:
    return entry.id == find_default(None).id or is_available(entry)


def checkpoint_of(entry: ModelEntry) -> Checkpoint:
    is_file = entry.source == SOURCE
    return as_checkpoint(entry, LibraryFile.objects.filter(entry_id=entry.id).first() if is_file else None)


def as_checkpoint(entry: ModelEntry, row: LibraryFile | None) -> Checkpoint:
    return Checkpoint(entry, row.relative_path, row.sha256, row.autov2) if row else Checkpoint(entry, entry.id)


def find_checkpoint(name: str) -> ModelEntry:
    """By title, file name with or without its ending, hash, or an id of ours. Raises ValidationError."""
    plain, digits = match.groups() if (match := HASHED.fullmatch(name)) else (name, "")
    entry = find_model([*names_like(plain), digits])
    if entry is None:
        raise ValidationError(f"model '{name[:LONGEST_NAME]}' not found. {why_not(plain)}", code="unknown_model")
    return entry


def why_not(name: str) -> str:
    try:
        entry = get_catalog().get(name[:LONGEST_NAME])
    except UnknownModel as error:
        if error.nearest or error.reason:
            return error.detail
        return f"Known: {', '.join(one.title for one in list_checkpoints()[:MOST_NAMED])}."
    return f"It makes no pictures (its task is {entry.task})."
