"""The adapters that a request names, as files that are here.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence

from api.errors import DarkroomError
from api.images.backends.adapters import Lora
from api.images.spec import LoraUse
from api.model_loader import Lease, ModelLoader


def find_adapters(loader: ModelLoader, lease: Lease, wanted: Sequence[LoraUse]) -> list[Lora]:
    found = []
    for lora in wanted:
        entry, path = loader.adapter(lora.id)
        if not entry.fits(lease.entry):
            raise DarkroomError("lora_mismatch", 400, f"The adapter '{entry.id}' is not for {lease.entry.name}.", field="loras")
        found.append(Lora(entry.id, path, lora.weight))
    return found
