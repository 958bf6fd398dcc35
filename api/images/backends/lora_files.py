"""The adapters that a request names, as files that are here and of the model's family.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from api.catalog import AdapterEntry, ModelEntry
from api.errors import DarkroomError
from api.images.backends.lora_changes import Lora
from api.images.family_names import describe_families, describe_misfit
from api.images.scheduler_presets import UNET_FAMILIES
from api.images.spec import LoraUse
from api.model_files.header import HeaderError, read_header
from api.model_files.identify import identify
from api.model_loader import Lease, ModelLoader


def find_adapters(loader: ModelLoader, lease: Lease, wanted: Sequence[LoraUse]) -> list[Lora]:
    """Raises UnknownAdapter, and DarkroomError: lora_mismatch (400), and what fetching a file raises."""
    found = []
    for lora in wanted:
        entry, path = loader.adapter(lora.id)
        check_family(entry, path, lease.entry)
        found.append(Lora(entry.id, path, lora.weight, lora.unet, lora.text, version_of(path, entry)))
    return found


def version_of(path: Path, entry: AdapterEntry) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DarkroomError("not_found", 502, f"The file of the adapter {entry.name} is not there.") from error
    return status.st_mtime_ns, status.st_size


def check_family(entry: AdapterEntry, path: Path, model: ModelEntry) -> None:
    """By what the catalog says and by what the file is: some layers of one family fit another's by chance."""
    if not entry.fits(model):
        raise _mismatch(describe_misfit(entry, model))
    family = family_of(path)
    if family != model.family and tells_families_apart(family, model.family):
        raise _mismatch(describe_families(entry.id, family, model))


def family_of(path: Path) -> str:
    """ "" where the header doesn't tell."""
    try:
        return identify(read_header(path), path.name).family
    except (HeaderError, OSError):  # a sentence about the file comes from whoever loads it
        return ""


def tells_families_apart(family: str, other: str) -> bool:
    """Transformers have names in common: which of them a file is for, the shapes of its layers tell better than its header."""
    return "" not in (family, other) and (family in UNET_FAMILIES or other in UNET_FAMILIES)


def _mismatch(detail: str) -> DarkroomError:
    return DarkroomError("lora_mismatch", 400, detail, field="loras")
