"""`cutout` of a request for pictures: what it may say, for the format that the request has."""

from __future__ import annotations

from dataclasses import dataclass

from api.catalog import LONGEST_NAME
from api.specs import param

MOST_CLASSES, LONGEST_CLASS = 200, 300


@dataclass(frozen=True, kw_only=True)
class CutoutUse:
    """What is done with each picture of a request that is kept, at the end: its subject is cut out, as `POST /api/cutout/` does it."""

    model_id: str = param(
        decided=True,
        max_length=LONGEST_NAME,
        help="A model that finds a subject itself; default: the server's setting DEFAULT_CUTOUT_MODEL.",
    )
    classes: tuple[str, ...] | None = param(
        default=None,
        omitted=True,
        min_items=1,
        max_items=MOST_CLASSES,
        max_length=LONGEST_CLASS,
        help="What is the subject, for a model that has classes; it can't do without them.",
    )
