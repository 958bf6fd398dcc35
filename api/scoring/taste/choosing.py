"""The choice between two, as the pages for people have it: which two stand there, what is said of them, and taking that back."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.files.models import StoredFile
from api.scoring.models import Comparison, LayoutScore
from api.scoring.taste.features import pair_of
from api.scoring.taste.judgements import Subject, comparisons_on, subjects
from api.scoring.taste.pairs import next_pair
from api.scoring.taste.serializers import GiveComparisonSerializer

CHOICES = ("0", "1", "2")
"""Neither, the first, the second."""


@dataclass(frozen=True)
class Contender:
    """One of the two. `words`: the picture's prompt, or the layout's title."""

    id: uuid.UUID
    url: str
    words: str
    width: int
    height: int


def pair_to_show(principal: Principal, on: str, asked: Sequence[str] = ()) -> list[Contender]:
    """The two that were asked for, where both are there; else those that teach most. [] where nothing is left to compare."""
    if len(asked) == 2 and len(found := find_contenders(principal, on, asked)) == 2:
        return found
    return find_contenders(principal, on, next_pair(on, principal, random.Random()) or ())


def find_contenders(principal: Principal, on: str, ids: Sequence[object]) -> list[Contender]:
    found = [find_subject(principal, on, identifier) for identifier in ids]
    return [describe(subject) for subject in found if subject is not None]


def find_subject(principal: Principal, on: str, identifier: object) -> Subject | None:
    try:
        pk = uuid.UUID(str(identifier))
    except ValueError:
        return None
    found: Subject | None = subjects(principal, on).filter(pk=pk).first()
    return None if isinstance(found, LayoutScore) and found.image is None else found


def describe(subject: Subject) -> Contender:
    file = subject if isinstance(subject, StoredFile) else subject.image
    assert file is not None
    words = subject.title if isinstance(subject, LayoutScore) else getattr(getattr(file, "generated", None), "prompt", "")
    return Contender(subject.pk, reverse("image-file", args=[file.pk]), words, file.width, file.height)


def words_of_both(pair: Sequence[Contender]) -> str:
    """'' where they differ."""
    words = {one.words for one in pair}
    return words.pop() if len(words) == 1 else ""


def keep_choice(principal: Principal, on: str, shown: Sequence[str], choice: str) -> Comparison:
    """Raises ValidationError."""
    if choice not in CHOICES or len(shown) != 2:
        raise ValidationError("One of two, or neither, is chosen.")
    preferred = None if choice == "0" else shown[int(choice) - 1]
    serializer = GiveComparisonSerializer(data={on: list(shown), "preferred": preferred}, context={"principal": principal})
    serializer.is_valid(raise_exception=True)
    return serializer.save()


def last_choice(principal: Principal, on: str) -> Comparison | None:
    return comparisons_on(on, [principal.owner_key]).order_by("-compared_at").first()


def take_back(principal: Principal, on: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The pair of the last choice, of which nothing is said any more."""
    last = last_choice(principal, on)
    if last is None:
        return None
    last.delete()
    return pair_of(last)
