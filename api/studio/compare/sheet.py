"""What is known of several pictures, as one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from api.images.models import GeneratedImage
from api.studio.gallery.picture import facts_of, scores_of

ABSENT = "–"


@dataclass(frozen=True)
class Row:
    """One parameter or score, with its value for each picture."""

    name: object
    values: Sequence[object]

    @property
    def differs(self) -> bool:
        return len({str(value) for value in self.values}) > 1


def make_sheet(images: Sequence[GeneratedImage]) -> list[Row]:
    """In the order in which a picture's page has them."""
    known = [facts_by_name(image) for image in images]
    names = dict.fromkeys(name for facts in sorted(known, key=len, reverse=True) for name in facts)
    return [Row(name, [facts.get(name, ABSENT) for facts in known]) for name in names]


def facts_by_name(image: GeneratedImage) -> Mapping[str, object]:
    left_out = (_("file"), "image", "mask")  # they always differ, and say nothing of how it was made
    texts = {_("prompt"): image.prompt, _("not shown"): image.negative_prompt}
    said = {name: text for name, text in texts.items() if text}
    facts = {str(name): value for name, value in (*facts_of(image), *scores_of(image)) if name not in left_out}
    stars = {_("rating"): "★" * image.rating} if image.rating else {}
    return {**said, **facts, **stars}
