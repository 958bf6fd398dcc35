"""What changes a picture's row."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from api.images.models import GeneratedImage, ImageSource, Tag


def set_tags(image: GeneratedImage, names: Iterable[str]) -> None:
    wanted = {name.strip() for name in names if name.strip()}
    Tag.objects.bulk_create([Tag(name=name) for name in wanted], ignore_conflicts=True)
    image.tags.set(Tag.objects.filter(name__in=wanted))


def link_sources(image: GeneratedImage, sources: Mapping[str, GeneratedImage]) -> None:
    """`sources` by their role, the first of them first."""
    links = [
        ImageSource(image=image, source=source, role=role, position=position)
        for position, (role, source) in enumerate(sources.items())
    ]
    ImageSource.objects.bulk_create(links)


def judge_image(*, image: GeneratedImage, rater: str, changes: dict[str, Any]) -> GeneratedImage:
    """`changes`: any of rating (1-5; None takes all that were given to it back), favourite, tags.

    Stars are a row of their own for each rater (scoring's Rating); the picture's `rating` follows them (signals.py).
    """
    changes = dict(changes)
    with transaction.atomic():
        if "rating" in changes:
            rate_image(image, rater, changes.pop("rating"))
        tags = changes.pop("tags", None)
        if tags is not None:
            set_tags(image, tags)
        for name, value in changes.items():
            setattr(image, name, value)
        if changes:
            image.save(update_fields=list(changes))
    return image


def rate_image(image: GeneratedImage, rater: str, stars: int | None) -> None:
    if stars is None:
        image.file.ratings.all().delete()
        image.rating = None
        image.save(update_fields=["rating"])
    else:
        image.file.ratings.give(owner_key=rater, stars=stars)
        image.refresh_from_db(fields=["rating"])


def delete_image(*, image: GeneratedImage) -> None:
    """The row, and the file with its thumbnail once that is committed."""
    image.file.delete()
