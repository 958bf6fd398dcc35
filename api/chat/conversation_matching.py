"""Which conversation a request goes on with whose client sends the whole history each time.

So that a chat of ten turns is one conversation and not ten, each conversation keeps a digest of its messages: a request that begins with
exactly those goes on with it.
"""

import hashlib
import json
from collections.abc import Sequence

from api.chat.models import Conversation
from api.chat.spec import PartParams, TurnParams


def extend_digest(digest: str, turn: TurnParams) -> str:
    """`detail`, empty texts and a call's id don't count: clients differ in how they send a message back."""
    content = [said for part in turn["parts"] if (said := said_in(part))]
    return hashlib.sha256(json.dumps([digest, turn["role"], content]).encode()).hexdigest()


def said_in(part: PartParams) -> object:
    if part["type"] == "tool_call":
        return [part["name"], part["arguments"]]
    return part.get("text") or part.get("image")


def digests(turns: Sequence[TurnParams]) -> list[str]:
    """The digest after each of the turns."""
    found, digest = [], ""
    for turn in turns:
        digest = extend_digest(digest, turn)
        found.append(digest)
    return found


def match_conversation(owner_key: str, turns: Sequence[TurnParams]) -> tuple[Conversation | None, Sequence[TurnParams]]:
    """The conversation whose messages are the longest prefix of `turns`, and the remaining turns."""
    known = digests(turns)
    places = {known[place]: place for place, turn in enumerate(turns[:-1]) if turn["role"] == "assistant"}
    if not places:
        return None, turns
    rows = Conversation.objects.select_for_update().filter(owner_key=owner_key, digest__in=list(places))
    best = max(rows, key=lambda row: (places[row.digest], row.id), default=None)
    return best, turns[places[best.digest] + 1 :] if best else turns
