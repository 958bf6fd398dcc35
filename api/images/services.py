"""What changes a picture's row."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from api.errors import DarkroomError
from api.files import storage
from api.files.services import create_output, keep_until, store_upload
from api.images.models import GeneratedImage, ImageSource, Tag
from api.jobs.models import Job
from api.json_types import JsonObject


def set_tags(image: GeneratedImage, names: Iterable[str]) -> None:
    wanted = {name.strip() for name in names if name.strip()}
    Tag.objects.bulk_create([Tag(name=name) for name in wanted], ignore_conflicts=True)
    image.tags.set(Tag.objects.filter(name__in=wanted))


Source = tuple[str, GeneratedImage]
"""A picture that another one is made from, behind its role."""


def link_sources(image: GeneratedImage, sources: Iterable[Source]) -> None:
    """The first of them first."""
    links = [
        ImageSource(image=image, source=source, role=role, position=position) for position, (role, source) in enumerate(sources)
    ]
    ImageSource.objects.bulk_create(links)


def record_derived(job: Job, file: storage.WrittenFile, *, origin: str, source: str, index: int = 0) -> JsonObject:
    """For api/runtime/picture_rows.py. A source that is no picture of the history (what a request brought with it) is not linked."""
    image = GeneratedImage.objects.create(
        file=create_output(job, file),
        job=job,
        index=index,
        owner_key=job.owner_key,
        origin=GeneratedImage.Origin(origin),
        model_id=job.model_id,
        width=file.width,
        height=file.height,
        parameters=job.params,
    )
    if found := GeneratedImage.objects.filter(pk=UUID(source)).first():
        link_sources(image, [(ImageSource.Role.IMAGE, found)])
    return {"id": str(image.pk), "width": image.width, "height": image.height, **file.credentials_field}


def upload_image(*, owner_key: str, data: bytes, expires_in: timedelta) -> GeneratedImage:
    """A picture that its owner keeps here to name it in requests. Raises InvalidImage, DiskFull and DarkroomError (429).

    The same pixels are one picture, kept as long as the latest upload asked. Its transparency is kept: as a mask it may matter.
    """
    with transaction.atomic():
        file = store_upload(owner_key=owner_key, data=data, mode="RGBA")
        keep_until(file, timezone.now() + expires_in)
        fields = {"origin": GeneratedImage.Origin.UPLOADED, "owner_key": owner_key, "width": file.width, "height": file.height}
        return GeneratedImage.objects.get_or_create(file=file, defaults=fields)[0]


def ensure_room_for_upload(owner_key: str) -> None:
    """Raises DarkroomError (429) where the owner keeps as many uploads as one may. Those that pictures refer to don't count."""
    kept = GeneratedImage.objects.filter(owner_key=owner_key, origin=GeneratedImage.Origin.UPLOADED, file__expires_at__gt=Now())
    if kept[: settings.MAX_UPLOADS_PER_KEY].count() >= settings.MAX_UPLOADS_PER_KEY:
        detail = (
            f"You keep {settings.MAX_UPLOADS_PER_KEY} uploads, which is your limit; delete some, or wait until they expire."
        )
        raise DarkroomError("too_many_uploads", 429, detail, headers={"Retry-After": "60"})


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
