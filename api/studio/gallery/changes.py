"""What a person does to many pictures at once."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.access.principals import Principal, visible_to
from api.images.models import GeneratedImage
from api.images.services import delete_image, judge_image
from api.images.spec import LONGEST_TAG, MOST_TAGS

MOST_CHANGED = 500
STARS = re.compile(r"[0-5]")


class Refused(Exception):
    """A sentence for the person."""


@dataclass
class Changed:
    """The pictures as they are now; `gone` are ids that were asked for and are not there (any more)."""

    action: str
    images: list[GeneratedImage] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        count = len(self.images)
        if self.action == "delete":
            said = ngettext("%(count)d picture was deleted.", "%(count)d pictures were deleted.", count)
        else:
            said = ngettext("%(count)d picture was changed.", "%(count)d pictures were changed.", count)
        if not self.gone:
            return said % {"count": count}
        missing = ngettext("%(count)d is not there any more.", "%(count)d are not there any more.", len(self.gone)) % {
            "count": len(self.gone)
        }
        return f"{said % {'count': count}} {missing}"


def change_images(principal: Principal, data: QueryDict) -> Changed:
    """`ids` (repeated, or separated by commas), and an `action`, whose value is behind a colon or in `value`.

    Raises Refused; then nothing is changed.
    """
    action, _colon, value = data.get("action", "").partition(":")
    if action not in ACTIONS:
        raise Refused(_("There is nothing to do by this name."))
    change = ACTIONS[action](principal, value or data.get("value", "").strip())
    ids = read_ids(data)
    with transaction.atomic():
        found = visible_to(principal, GeneratedImage.objects.filter(pk__in=ids)).select_related("file").prefetch_related("tags")
        images = {image.pk: image for image in found}
        for image in images.values():
            change(image)
    return Changed(action, list(images.values()), [str(pk) for pk in ids if pk not in images])


def read_ids(data: QueryDict) -> list[uuid.UUID]:
    texts = [text for part in data.getlist("ids") for text in part.split(",") if text]
    if not texts:
        raise Refused(_("Choose pictures first."))
    if len(texts) > MOST_CHANGED:
        raise Refused(_("Up to %(most)d pictures are changed at once.") % {"most": MOST_CHANGED})
    try:
        return list(dict.fromkeys(uuid.UUID(text) for text in texts))
    except ValueError:
        raise Refused(_("These are no pictures' ids.")) from None


# ---------------------------------------------------------------- actions: what is done to each picture

Change = Callable[[GeneratedImage], object]


def rate(principal: Principal, value: str) -> Change:
    if not STARS.fullmatch(value):
        raise Refused(_("A rating is 1 to 5 stars, or 0 to take them back."))
    return lambda image: judge_image(image=image, rater=principal.owner_key, changes={"rating": int(value) or None})


def favour(principal: Principal, value: str) -> Change:
    if value not in ("yes", "no"):
        raise Refused(_("A picture is a favourite or it is not: yes or no."))
    return lambda image: judge_image(image=image, rater=principal.owner_key, changes={"favourite": value == "yes"})


def add_tags(principal: Principal, value: str) -> Change:
    names = read_tags(value)
    if not names:
        raise Refused(_("Write a tag first."))

    def change(image: GeneratedImage) -> None:
        tags = list(dict.fromkeys([*(tag.name for tag in image.tags.all()), *names]))
        if len(tags) > MOST_TAGS:
            raise Refused(_("A picture has up to %(most)d tags.") % {"most": MOST_TAGS})
        judge_image(image=image, rater=principal.owner_key, changes={"tags": tags})

    return change


def remove_tags(principal: Principal, value: str) -> Change:
    names = read_tags(value)

    def change(image: GeneratedImage) -> None:
        kept = [tag.name for tag in image.tags.all() if tag.name not in names]
        judge_image(image=image, rater=principal.owner_key, changes={"tags": kept})

    return change


def set_tags(principal: Principal, value: str) -> Change:
    names = read_tags(value)
    if len(names) > MOST_TAGS:
        raise Refused(_("A picture has up to %(most)d tags.") % {"most": MOST_TAGS})
    return lambda image: judge_image(image=image, rater=principal.owner_key, changes={"tags": names})


def delete(principal: Principal, value: str) -> Change:
    return lambda image: delete_image(image=image)


def read_tags(value: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in value.replace("\0", "").split(",") if name.strip()))
    if any(len(name) > LONGEST_TAG for name in names):
        raise Refused(_("A tag has up to %(most)d letters.") % {"most": LONGEST_TAG})
    return names


ACTIONS: Mapping[str, Callable[[Principal, str], Change]] = {
    "rate": rate,
    "favourite": favour,
    "tag": add_tags,
    "untag": remove_tags,
    "tags": set_tags,
    "delete": delete,
}


def changed_json(images: Sequence[GeneratedImage]) -> list[dict[str, object]]:
    return [{"id": str(image.pk), "rating": image.rating, "favourite": image.favourite} for image in images]
