"""Stars and choices: what people say of pictures and layouts, and taking it back. Stars are given by `RatingManager.give`."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from api.access.principals import Principal, visible_to
from api.files.models import StoredFile
from api.scoring.models import Comparison, LayoutScore, Rating

Subject = StoredFile | LayoutScore


def subjects(principal: Principal, on: str) -> QuerySet[StoredFile] | QuerySet[LayoutScore]:
    """What this principal may judge."""
    if on == "layouts":
        return visible_to(principal, LayoutScore.objects.all())
    return visible_to(principal, StoredFile.objects.all())


def compare(*, owner_key: str, first: Subject, second: Subject, preferred: Subject | None) -> Comparison:
    """`preferred`: one of the two, None for a tie. A rater's later choice between the same two replaces the earlier one."""
    a, b = sorted((first, second), key=lambda subject: subject.pk)
    kind = "file" if isinstance(a, StoredFile) else "layout"
    outcome = Comparison.Outcome.TIE if preferred is None else Comparison.Outcome.A if preferred == a else Comparison.Outcome.B
    pair: dict[str, Any] = {f"{kind}_a": a, f"{kind}_b": b}
    said: dict[str, object] = {"outcome": outcome, "compared_at": timezone.now()}
    return Comparison.objects.update_or_create(owner_key=owner_key, **pair, defaults=said)[0]


def ratings_on(on: str, raters: Sequence[str] | None = None) -> QuerySet[Rating]:
    """In their order; `raters`: theirs alone."""
    found = Rating.objects.filter(layout__isnull=False) if on == "layouts" else Rating.objects.filter(file__isnull=False)
    return (found if raters is None else found.filter(owner_key__in=raters)).order_by("pk")


def comparisons_on(on: str, raters: Sequence[str] | None = None) -> QuerySet[Comparison]:
    found = (
        Comparison.objects.filter(layout_a__isnull=False)
        if on == "layouts"
        else Comparison.objects.filter(file_a__isnull=False)
    )
    return (found if raters is None else found.filter(owner_key__in=raters)).order_by("pk")
