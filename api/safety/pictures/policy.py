"""Whose pictures are checked, and from which score on one is withheld: the server's settings, and what keys have of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from api.json_types import JsonObject
from api.safety.cache import ShortCache
from api.safety.models import KeyChecks


@dataclass(frozen=True)
class PicturePolicy:
    """How the pictures of one owner's jobs are checked."""

    model_id: str
    labels: tuple[str, ...]
    """Small letters."""
    threshold: float

    def score(self, probabilities: Mapping[str, float]) -> tuple[str, float]:
        """The class that is withheld and most probable, and how probable. Raises LookupError, which names those that the model lacks: one
        that is misspelled would withhold nothing.
        """
        found = {label: value for label, value in probabilities.items() if label.casefold() in self.labels}
        known = {label.casefold() for label in found}
        if missing := [label for label in self.labels if label not in known]:
            raise LookupError(", ".join(missing))
        label = max(found, key=found.__getitem__)
        return label, found[label]

    def as_json(self) -> JsonObject:
        return {"model_id": self.model_id, "labels": list(self.labels), "threshold": self.threshold}


def read_key_checks() -> dict[str, tuple[bool, float | None]]:
    rows = KeyChecks.objects.values_list("key__prefix", "check_pictures", "threshold")
    return {prefix: (check, threshold) for prefix, check, threshold in rows}


key_checks = ShortCache(read_key_checks)


def policy_of(owner_key: str) -> PicturePolicy | None:
    """None where the owner's pictures are not checked. Asks the database, once in two seconds: for the thread that runs models."""
    is_checked, threshold = key_checks.get().get(owner_key, (settings.PICTURE_CHECK, None))
    if not is_checked:
        return None
    labels = tuple(label.casefold() for label in settings.PICTURE_CHECK_LABELS)
    return PicturePolicy(
        settings.PICTURE_CHECK_MODEL, labels, settings.PICTURE_CHECK_THRESHOLD if threshold is None else threshold
    )


def may_be_previewed(owner_key: str) -> bool:
    """What isn't finished can't be checked."""
    return policy_of(owner_key) is None
