"""The models on offer: in memory, here, or to be fetched first; and what is being done about that."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.utils.translation import gettext as _

from api.access.principals import Principal, visible_to
from api.jobs.admin.tools import bytes_text
from api.jobs.models import Job
from api.jobs.states import ACTIVE
from api.studio.queue.rows import UNUSED, Row
from api.system.model_list import ModelList
from api.system.spec import LoadModelSpec, UnloadModelSpec

MOST_READ, MOST_SHOWN, MOST_COMMANDS = 400, 60, 50
BYTES_OF_A_PARAMETER = 2
"""At half precision."""


@dataclass(frozen=True)
class ShownModel:
    known: Mapping[str, Any]
    command: Row | None
    """The job that loads, fetches or unloads it now."""

    @property
    def size(self) -> str:
        size = self.known["size"] or self.known["memory"] or self.known["parameters"] * BYTES_OF_A_PARAMETER
        return bytes_text(size) if size else ""

    @property
    def facts(self) -> list[str]:
        licence = self.known["licence"] if self.known["licence"] != "unknown" else ""
        gated = _("its licence must be accepted on the hub") if self.known["gated"] and not self.known["available"] else ""
        return list(filter(None, [self.known["task"], self.size, licence, gated]))

    @property
    def is_here(self) -> bool:
        """Or on its way."""
        return bool(self.known["available"] or self.known["loaded"] or self.command)

    @property
    def rank(self) -> tuple[bool, bool]:
        return self.command is None, not self.known["loaded"]


def models_context(principal: Principal, words: str) -> dict[str, object]:
    listed = ModelList(q=words.replace("\x00", "").strip()[:200], limit=MOST_READ)
    commands = commands_of(principal)
    models = [ShownModel(known, commands.get(str(known["id"]))) for known in chain.from_iterable(listed.batches())]
    here = sorted((model for model in models if model.is_here), key=lambda model: model.rank)[:MOST_SHOWN]
    away = [model for model in models if not model.is_here][:MOST_SHOWN]
    more = listed.total - len(here) - len(away)
    return {"here": here, "away": away, "more_models": more, "model_words": words, "may_command": principal.is_staff}


def commands_of(principal: Principal) -> dict[str, Row]:
    """By model; the newest of each."""
    kinds = (LoadModelSpec.kind, UnloadModelSpec.kind)
    active = visible_to(principal, Job.objects.filter(status__in=ACTIVE, kind__in=kinds, parent__isnull=True))
    return {job.model_id: Row(job) for job in reversed(active.defer(*UNUSED).order_by("-pk")[:MOST_COMMANDS])}
