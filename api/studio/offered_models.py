"""The models that make pictures, as the page offers them: what is here, what would be fetched first, and under which licence."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from api.catalog import TEXT_TO_IMAGE, ModelEntry
from api.jobs.admin.tools import bytes_text
from api.system.selectors import is_available
from config.catalog import get_catalog

CACHE_SECONDS = 10
BYTES_OF_A_PARAMETER = 2
"""At half precision."""


@dataclass(frozen=True)
class OfferedModel:
    id: str
    name: str
    is_here: bool
    facts: str
    """Size and licence, for people."""
    default_size: int
    default_steps: int
    default_guidance: float

    @property
    def label(self) -> str:
        return self.name if self.is_here else f"{self.name} – {self.facts}"


def offered_models() -> list[OfferedModel]:
    """The default one first, then those that are here."""
    found: list[OfferedModel] = cache.get_or_set(f"studio.offered_models.{get_language()}", find_models, CACHE_SECONDS)  # type: ignore[assignment]
    return found


def find_models() -> list[OfferedModel]:
    offered: Iterable[OfferedModel] = map(describe, get_catalog().of_task(TEXT_TO_IMAGE))
    return sorted(offered, key=lambda model: (model.id != settings.DEFAULT_IMAGE_MODEL, not model.is_here))


def describe(entry: ModelEntry) -> OfferedModel:
    size = entry.memory or entry.parameters * BYTES_OF_A_PARAMETER
    facts = [
        bytes_text(size) if size else "",
        entry.licence if entry.licence != "unknown" else "",
        _("its licence must be accepted on the hub") if entry.gated else "",
    ]
    return OfferedModel(
        id=entry.id,
        name=entry.name,
        is_here=is_available(entry),
        facts=", ".join(filter(None, facts)),
        default_size=entry.default_size,
        default_steps=entry.default_steps,
        default_guidance=entry.default_guidance_scale,
    )
