"""One page of the gallery, by keyset: the time for it does not grow with the number of pictures, nor with how deep one has scrolled.

Filters that no index has (words of a prompt, sizes, tags) read row after row. So a page looks through a bounded number of pictures, and
says where it stopped, found enough or not: the next page goes on from there. Words alone need no bound
where PostgreSQL has an index of them.
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from api.access.principals import Principal, visible_to
from api.images.models import GeneratedImage, ImageQuerySet, Tag
from api.jobs.admin.tools import used_models
from api.jobs.store.word_index import finds_words
from api.studio.gallery.query import GalleryQuery, Order

PAGE = 60
MOST_SEEN, MOST_SEEN_BY_VALUE = 20_000, 5_000
"""In the order of ids, and in one by a value, whose rows are scattered over the table."""
MOST_NAMED = 100
COLUMNS = ("pk", "prompt", "width", "height", "rating", "favourite", "origin", "seed", "clip_score")


@dataclass(frozen=True)
class Place:
    """A picture's place in an order: its value there, and its id."""

    value: float | None
    pk: uuid.UUID

    def __str__(self) -> str:
        return str(self.pk) if self.value is None else f"{self.value!r}~{self.pk}"


@dataclass(frozen=True)
class GalleryPage:
    images: Sequence[GeneratedImage]
    next: Place | None
    """Where the next page begins; None at the end."""


def read_place(text: str, order: Order) -> Place | None:
    """None for what is no place in this order: the list then begins anew."""
    value, _, pk = text.rpartition("~")
    try:
        place = Place(float(value) if order.column else None, uuid.UUID(pk))
    except ValueError:
        return None
    return place if place.value is None or math.isfinite(place.value) else None


def find_page(principal: Principal, query: GalleryQuery, after: Place | None) -> GalleryPage:
    order = query.order
    images: ImageQuerySet = GeneratedImage.objects.filter(query.ids)
    rows = visible_to(principal, images).order_by(*columns_of(order))
    if order.column:
        rows = rows.filter(**{f"{order.column}__isnull": False})
    if after is not None:
        rows = rows.filter(beyond(order, after))
    stop = None if finds_words(GeneratedImage, query.words_alone) else last_place(rows, order)
    if stop is not None:
        rows = rows.filter(as_far_as(order, stop))
    found = list(rows.filter(query.conditions).only(*COLUMNS)[: PAGE + 1])
    if len(found) > PAGE:
        return GalleryPage(found[:PAGE], place_of(found[PAGE - 1], order))
    return GalleryPage(found, stop)


def last_place(rows: QuerySet[GeneratedImage], order: Order) -> Place | None:
    """Of those that one page looks through."""
    most = MOST_SEEN_BY_VALUE if order.column else MOST_SEEN
    last_seen = rows.values_list(order.column or "pk", "pk")[most - 1 : most].first()
    return Place(last_seen[0] if order.column else None, last_seen[1]) if last_seen else None


def columns_of(order: Order) -> list[str]:
    sign = "-" if order.descending else ""
    return [f"{sign}{name}" for name in (order.column, "pk") if name]


def place_of(image: GeneratedImage, order: Order) -> Place:
    return Place(getattr(image, order.column) if order.column else None, image.pk)


def beyond(order: Order, place: Place) -> Q:
    return compare(order, place, "lt" if order.descending else "gt", or_equal=False)


def as_far_as(order: Order, place: Place) -> Q:
    return compare(order, place, "gt" if order.descending else "lt", or_equal=True)


def compare(order: Order, place: Place, sign: str, *, or_equal: bool) -> Q:
    """The bound of the column stands alone, so that an index is used for it."""
    id_bound = Q(**{f"pk__{sign}{'e' if or_equal else ''}": place.pk})
    if order.column is None:
        return id_bound
    outer, inner = Q(**{f"{order.column}__{sign}e": place.value}), Q(**{f"{order.column}__{sign}": place.value})
    return outer & (inner | id_bound)


# ---------------------------------------------------------------- what the filters offer


def models_of(principal: Principal) -> list[str]:
    """The models of this person's pictures; of one who sees only their own, those of the newest MOST_SEEN."""
    if principal.is_staff:
        return used_models(GeneratedImage)
    newest = visible_to(principal, GeneratedImage.objects.order_by("-pk")).values("pk")[:MOST_SEEN]
    named = GeneratedImage.objects.filter(pk__in=newest).exclude(model_id="").order_by("model_id")
    return list(named.values_list("model_id", flat=True).distinct()[:MOST_NAMED])


def tags_of(principal: Principal) -> list[str]:
    tags = Tag.objects.all() if principal.is_staff else Tag.objects.filter(images__owner_key=principal.owner_key).distinct()
    return list(tags.values_list("name", flat=True)[:MOST_NAMED])
