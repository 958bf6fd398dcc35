"""The picture that is edited, those that may be next, and what became of it."""

import uuid

from api.access.principals import Principal, visible_to
from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.images.spec import Img2ImgSpec
from api.images.upscaling.spec import UpscaleSpec
from api.jobs.models import Job
from api.jobs.states import Status
from api.studio.jobs import card_context
from api.vision.cutout.spec import CutoutSpec

RESULT_KINDS = (Img2ImgSpec.kind, UpscaleSpec.kind, CutoutSpec.kind)
NOT_OFFERED = (GeneratedImage.Origin.PREPROCESSED, GeneratedImage.Origin.ANNOTATED, GeneratedImage.Origin.GRID)
MOST_LOOKED_AT, MOST_OFFERED, MOST_RESULTS = 60, 18, 3


def find_source(principal: Principal, identifier: str) -> StoredFile | None:
    """Of whatever origin: uploads, too."""
    try:
        pk = uuid.UUID(identifier)
    except ValueError:
        return None
    return visible_to(principal, StoredFile.objects.filter(pk=pk)).first()


def find_row(file: StoredFile | None) -> GeneratedImage | None:
    """What is known of it; None of what came with a request."""
    return GeneratedImage.objects.filter(pk=file.pk).first() if file else None


def offered_pictures(principal: Principal) -> list[GeneratedImage]:
    """The newest, without those that only show something of another one."""
    images = visible_to(principal, GeneratedImage.objects.made_here().order_by("-pk"))
    newest = images.only("pk", "prompt", "origin", "width", "height")[:MOST_LOOKED_AT]
    return [image for image in newest if image.origin not in NOT_OFFERED][:MOST_OFFERED]


def result_cards(principal: Principal, source: StoredFile | None) -> list[dict[str, object]]:
    """What was made from it last."""
    if source is None:
        return []
    jobs = visible_to(principal, Job.objects.filter(inputs__file=source, kind__in=RESULT_KINDS, status=Status.SUCCEEDED))
    return [card_context(job) for job in jobs.order_by("-pk")[:MOST_RESULTS]]
