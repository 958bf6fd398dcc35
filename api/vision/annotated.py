"""Annotated pictures: drawn in the worker, kept as pictures with origin "annotated", each linked to the one it was drawn over."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull
from api.jobs.models import Job
from api.jobs.running import RunningJob
from api.runtime.picture_rows import record_picture
from api.vision.overlays import ANNOTATED_FORMAT, Annotation, draw_annotations, encode_annotated

ORIGIN = "annotated"


def keep_annotated(run: RunningJob[Any], picture: Image.Image, annotations: Sequence[Annotation]) -> storage.WrittenFile:
    """The annotated picture on disk, before its row. Touches no database. Raises DarkroomError."""
    with run.measure("save"):
        annotated = draw_annotations(picture, annotations)
        try:
            return storage.write_image_files(encode_annotated(annotated), annotated, ANNOTATED_FORMAT)
        except DiskFull:
            raise DarkroomError("disk_full", 507, "The disk is full; the annotated picture could not be kept.") from None


def record_annotated(job: Job, file: storage.WrittenFile | None, source: str) -> dict[str, Any]:
    """Makes its row, and gives what belongs into the job's result; nothing where none was asked for."""
    return {"annotated": record_picture(job, file, origin=ORIGIN, source=source)} if file else {}


def describe_annotated(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A job's result with the addresses of its annotated picture, where it has one."""
    if not result or "annotated" not in result:
        return result
    path = f"/api/images/{result['annotated']['id']}/"
    return {**result, "annotated": {**result["annotated"], "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/"}}
