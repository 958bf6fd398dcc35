"""What of the queue a person wants to see, as the page's address says it."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce

from api.access.principals import Principal
from api.jobs.models import Job

RUNNING, WAITING, ENDED, FAILED = "running", "waiting", "ended", "failed"
STATES = (RUNNING, WAITING, ENDED, FAILED)
MINE = "mine"


@dataclass(frozen=True)
class QueueQuery:
    state: str = ""
    """One of STATES; "" for all."""
    kind: str = ""
    words: str = ""
    whose: str = ""
    """MINE; "" is everybody's for staff, and one's own for everybody else."""

    @property
    def is_narrowed(self) -> bool:
        return bool(self.state or self.kind or self.words or self.whose)

    def shows(self, state: str) -> bool:
        return self.state in ("", state) or (state == ENDED and self.state == FAILED)


def read_query(sent: Mapping[str, str]) -> QueueQuery:
    """PostgreSQL knows no NUL in a text."""
    values = {name: sent.get(name, "").replace("\x00", "").strip()[:200] for name in ("state", "kind", "words", "whose")}
    return QueueQuery(**values)


def narrow(principal: Principal, query: QueueQuery) -> QuerySet[Job]:
    """Children are shown with their parents.

    Owner and kind are no bare columns, or SQLite would read all of the owner's history to find the active rows.
    """
    rows = Job.objects.filter(parent__isnull=True)
    if query.whose == MINE or not principal.is_staff:
        rows = rows.alias(owner=Coalesce("owner_key", Value(""))).filter(owner=principal.owner_key)
    if query.kind:
        rows = rows.alias(shown_kind=Coalesce("kind", Value(""))).filter(shown_kind=query.kind)
    for word in query.words.split():
        rows = rows.filter(prompt__icontains=word)
    return rows
