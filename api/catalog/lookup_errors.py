"""What is raised for an id that nothing has, or a name that several have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from api.errors import DarkroomError

MOST_COMPARED = 200
"""Characters of a wrong id that are compared with the known ones."""


class UnknownEntry(DarkroomError):
    """No such id; `nearest` holds the known ids most like it, `reason` says why a file of that name can't be used."""

    kind = "entry"

    def __init__(self, wanted: str, nearest: list[str], reason: str = "") -> None:
        self.id, self.nearest, self.reason = wanted, nearest, reason
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"unknown_{self.kind}", 400, reason or f"There is no {self.kind} '{wanted}'.{hint}")


class UnknownModel(UnknownEntry):
    kind = "model"


class UnknownAdapter(UnknownEntry):
    kind = "adapter"


class UnknownEmbedding(UnknownEntry):
    kind = "embedding"


class UnknownPart(UnknownEntry):
    """`kind` is the part's."""

    def __init__(self, kind: str, wanted: str, nearest: list[str], reason: str = "") -> None:
        self.kind = kind
        super().__init__(wanted, nearest, reason)


class AmbiguousModel(UnknownModel):
    def __init__(self, wanted: str, ids: list[str]) -> None:
        super().__init__(wanted, ids, ambiguity(wanted, ids))


class AmbiguousAdapter(UnknownAdapter):
    def __init__(self, wanted: str, ids: list[str]) -> None:
        super().__init__(wanted, ids, ambiguity(wanted, ids))


class AmbiguousEmbedding(UnknownEmbedding):
    def __init__(self, wanted: str, ids: list[str]) -> None:
        super().__init__(wanted, ids, ambiguity(wanted, ids))


class AmbiguousPart(UnknownEntry):
    kind = "part"

    def __init__(self, wanted: str, ids: list[str]) -> None:
        super().__init__(wanted, ids, ambiguity(wanted, ids))


def ambiguity(wanted: str, ids: list[str]) -> str:
    return f"'{wanted}' is the name of several files. Name one by its id: {', '.join(ids)}."


def nearest(wanted: str, known: Iterable[str]) -> list[str]:
    """Up to three: first those that begin with what was written (a base model before what was made from it), then similar ones."""
    by_folded = {name.lower(): name for name in known}
    folded = wanted.lower()[:MOST_COMPARED]
    begun = sorted((name for name in by_folded if folded and name.startswith(folded)), key=lambda name: "base" not in name)
    similar = difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.5)
    return [by_folded[name] for name in list(dict.fromkeys([*begun, *similar]))[:3]]
