"""The scorers that were trained here, by their names: `NAME` is the newest version, `NAME@2` the second.

Where something is to be judged, `custom:NAME` is the newest version that learned something: a training that learned nothing does not
replace one that did.
"""

import re

from django.db.models import Q, QuerySet

from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.states import ACTIVE
from api.scoring.models import CustomScorer
from api.strict import nearest

PREFIX = "custom:"
REFERENCE = re.compile(r"([A-Za-z0-9_-]{1,40})(?:@([1-9][0-9]{0,5}))?")
MOST_NAMES = 200


class UnknownCustomScorer(LookupError):
    """The message names the nearest that there are."""


def find_scorer(reference: str) -> CustomScorer:
    """`NAME` or `NAME@VERSION`. Raises UnknownCustomScorer."""
    found = versions_of(reference).first()
    if found is None:
        raise UnknownCustomScorer(f"There is no scorer '{reference[:100]}' that was trained here.{names_near(reference)}")
    return found


def find_for_judging(reference: str) -> CustomScorer:
    """`NAME`: its newest version that learned something, or its newest where none did. Raises UnknownCustomScorer."""
    return versions_of(reference).filter(learned=True).first() or find_scorer(reference)


def versions_of(reference: str) -> QuerySet[CustomScorer]:
    """Newest first; with `@VERSION` that one alone."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        return CustomScorer.objects.none()
    versions = CustomScorer.objects.filter(name=match[1]).order_by("-version")
    return versions.filter(version=int(match[2])) if match[2] else versions


def names_near(reference: str) -> str:
    name, _, version = reference.partition("@")
    versions = versions_of(name).order_by("version").values_list("version", flat=True)
    if version and versions:
        return f" Its versions: {', '.join(str(known) for known in versions)}."
    names = CustomScorer.objects.order_by("name").values_list("name", flat=True).distinct()[:MOST_NAMES]
    return nearest(name, list(names)) or ("" if names else " None was trained yet.")


def delete_scorers(reference: str) -> None:
    """All versions of NAME, or the one of NAME@VERSION. Raises UnknownCustomScorer, and a DarkroomError 409 while jobs wait for one."""
    versions = list(versions_of(reference).only("pk", "name", "version"))
    if not versions:
        find_scorer(reference)
    if (waiting := jobs_with(versions)) is not None:
        detail = f"Job {waiting} waits for it or uses it now; cancel that, or wait for its end."
        raise DarkroomError("scorer_in_use", 409, detail)
    CustomScorer.objects.filter(pk__in=[version.pk for version in versions]).delete()


def jobs_with(versions: list[CustomScorer]) -> str | None:
    """A job under way that judges with one of them."""
    names = [f"{PREFIX}{version}" for version in versions]
    ranked = Q()
    for name in names:
        ranked |= Q(params__rank_by__has_key=name) | Q(params__rank_by=name)
    job = Job.objects.filter(Q(model_id__in=names) | Q(params__backend__in=names) | ranked, status__in=ACTIVE).first()
    return str(job.pk) if job else None
