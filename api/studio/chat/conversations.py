"""The list of one person's conversations: those that went on last come first, page by page."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, Subquery

from api.access.principals import Principal
from api.chat.models import Conversation, Message
from api.chat.services import MAX_SEARCH_WORDS

PAGE = 40
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class ConversationPage:
    rows: Sequence[Conversation]
    next: str
    """Where the next page begins; '' at the end."""


def find_conversations(principal: Principal, words: str = "", after: str = "") -> ConversationPage:
    """Staff, too, get their own alone here."""
    rows = Conversation.objects.filter(owner_key=principal.owner_key).order_by("-updated_at", "-id")
    if (place := read_place(after)) is not None:
        rows = rows.filter(behind(*place))
    for word in dict.fromkeys(words[:LONGEST_SEARCH].replace("\0", "").split()[:MAX_SEARCH_WORDS]):
        said = Message.objects.filter(conversation=OuterRef("pk"), text__icontains=word)
        rows = rows.filter(Q(title__icontains=word) | Exists(said))
    found = list(rows.only("pk", "title", "updated_at")[: PAGE + 1])
    last = found[PAGE - 1] if len(found) > PAGE else None
    return ConversationPage(found[:PAGE], f"{last.updated_at.isoformat()}~{last.pk}" if last else "")


def behind(moment: datetime, pk: uuid.UUID) -> Q:
    """The moment is compared as the database has it: SQLite keeps text, with fewer digits than a parameter's."""
    last = Conversation.objects.filter(pk=pk)
    if last.values_list("updated_at", flat=True).first() != moment:  # it has gone on since, or was deleted
        return Q(updated_at__lt=moment)
    edge = Subquery(last.values("updated_at"))
    return Q(updated_at__lte=edge) & (Q(updated_at__lt=edge) | Q(pk__lt=pk))


def read_place(text: str) -> tuple[datetime, uuid.UUID] | None:
    """None for what is no place: the list then begins anew."""
    moment, _, pk = text.partition("~")
    try:
        found = datetime.fromisoformat(moment), uuid.UUID(pk)
    except ValueError:
        return None
    return found if found[0].tzinfo else None
