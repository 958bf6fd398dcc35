"""What a person asks of the gallery: words, filters and an order, in the address of the page."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import F, Q
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.images.models import GeneratedImage, Tag
from api.images.spec import LONGEST_MODEL_ID, LONGEST_TAG
from api.jobs.identifiers import first_id_of

LONGEST_SEARCH, MOST_WORDS = 200, 12
SEED = re.compile(r"seed:(\d{1,16})")
ALWAYS_SHOWN = ("q", "order", "favourite")
Origin = GeneratedImage.Origin


@dataclass(frozen=True)
class Order:
    """`column`: None for the id, which is the time. Pictures without a value in it are left out."""

    label: str | Promise
    column: str | None = None
    descending: bool = True


ORDERS: Mapping[str, Order] = {
    "newest": Order(gettext_lazy("Newest first")),
    "oldest": Order(gettext_lazy("Oldest first"), descending=False),
    "match": Order(gettext_lazy("Best prompt match"), "clip_score"),
    "rating": Order(gettext_lazy("Best rated"), "rating"),
}
RATINGS = {
    "5": gettext_lazy("★★★★★"),
    "4": gettext_lazy("★★★★ or more"),
    "3": gettext_lazy("★★★ or more"),
    "1": gettext_lazy("Rated"),
    "none": gettext_lazy("Not rated"),
}
SHAPES = {"square": gettext_lazy("Square"), "wide": gettext_lazy("Wide"), "tall": gettext_lazy("Tall")}
SIDES = {
    "512": gettext_lazy("512 pixels or more"),
    "1024": gettext_lazy("1,024 pixels or more"),
    "2048": gettext_lazy("2,048 pixels or more"),
}
SHAPE_CONDITIONS = {"square": Q(width=F("height")), "wide": Q(width__gt=F("height")), "tall": Q(width__lt=F("height"))}


@dataclass
class GalleryQuery:
    """`values` as they are in the address, those that say something; `errors` by name, of values that can't be read and filter nothing."""

    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    conditions: Q = field(default_factory=Q)
    first_day: date | None = None
    last_day: date | None = None

    @property
    def order(self) -> Order:
        return ORDERS[self.values.get("order", "newest")]

    @property
    def words_alone(self) -> str:
        """Those that a prompt must have, where nothing else is asked for."""
        if not self.values.keys() <= {"q", "order"}:
            return ""
        sought = self.values.get("q", "")[:LONGEST_SEARCH].split()[:MOST_WORDS]
        return " ".join(word for word in sought if not SEED.fullmatch(word))

    @property
    def is_narrowed(self) -> bool:
        return any(name != "order" for name in self.values)

    @property
    def details(self) -> int:
        """How many of the filters are set that stand folded away."""
        return sum(name not in ALWAYS_SHOWN for name in self.values)

    @property
    def ids(self) -> Q:
        """The span of ids that the days are."""
        span = Q()
        if self.first_day:
            span &= Q(pk__gte=first_id_of(start_of(self.first_day)))
        if self.last_day:
            span &= Q(pk__lt=first_id_of(start_of(self.last_day + timedelta(days=1))))
        return span


def read_query(data: QueryDict) -> GalleryQuery:
    query = GalleryQuery({name: value for name in READERS if (value := data.get(name, "").replace("\0", "").strip())})
    for name, value in list(query.values.items()):
        try:
            query.conditions &= READERS[name](query, value)
        except ValueError as error:
            query.errors[name] = str(error)
            del query.values[name]
    if "origin" not in query.values:
        query.conditions &= ~Q(origin=Origin.UPLOADED)  # not as `origin IN …`: see ImageQuerySet.made_here
    return query


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# ---------------------------------------------------------------- one reader for each filter; they raise ValueError


def read_words(query: GalleryQuery, value: str) -> Q:
    """Each word must be in the prompt, wherever; `seed:42` is that seed."""
    words = value[:LONGEST_SEARCH].split()[:MOST_WORDS]
    found = Q()
    for word in words:
        match = SEED.fullmatch(word)
        found &= Q(seed=int(match[1])) if match else Q(prompt__icontains=word)
    return found


def read_model(query: GalleryQuery, value: str) -> Q:
    return Q(model_id=value[:LONGEST_MODEL_ID])


def read_first_day(query: GalleryQuery, value: str) -> Q:
    query.first_day = read_day(value)
    return Q()


def read_last_day(query: GalleryQuery, value: str) -> Q:
    query.last_day = read_day(value)
    return Q()


def read_day(value: str) -> date:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        day = date.min
    if not 1970 <= day.year < 9999:
        raise ValueError(_("A day is written as 2026-11-28."))
    return day


def read_rating(query: GalleryQuery, value: str) -> Q:
    if choose(value, RATINGS) == "none":
        return ~Q(
            rating__gte=1
        )  # not as IS NULL, for which SQLite would sort nearly the whole table out of the index on ratings
    return Q(rating__gte=int(value))


def read_favourite(query: GalleryQuery, value: str) -> Q:
    choose(value, ("yes",))
    return Q(favourite=True)


def read_tag(query: GalleryQuery, value: str) -> Q:
    return Q(pk__in=Tag.images.through.objects.filter(tag__name=value[:LONGEST_TAG]).values("generatedimage_id"))


def read_least_match(query: GalleryQuery, value: str) -> Q:
    try:
        least = float(value)
    except ValueError:
        least = -1.0
    if not 0 <= least <= 100:
        raise ValueError(_("A score is a number from 0 to 100."))
    return Q(clip_score__gte=least)


def read_origin(query: GalleryQuery, value: str) -> Q:
    return Q(origin=choose(value, Origin.values))


def read_shape(query: GalleryQuery, value: str) -> Q:
    return SHAPE_CONDITIONS[choose(value, SHAPES)]


def read_side(query: GalleryQuery, value: str) -> Q:
    least = int(choose(value, SIDES))
    return Q(width__gte=least) | Q(height__gte=least)


def read_order(query: GalleryQuery, value: str) -> Q:
    column = ORDERS[choose(value, ORDERS)].column
    return Q(**{f"{column}__isnull": False}) if column else Q()


def choose(value: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    if value not in known:
        raise ValueError(_("“%(value)s” is not one of the choices.") % {"value": value[:40]})
    return value


READERS: Mapping[str, Callable[[GalleryQuery, str], Q]] = {
    "q": read_words,
    "order": read_order,
    "model": read_model,
    "from": read_first_day,
    "to": read_last_day,
    "rating": read_rating,
    "favourite": read_favourite,
    "tag": read_tag,
    "match": read_least_match,
    "origin": read_origin,
    "shape": read_shape,
    "side": read_side,
}
