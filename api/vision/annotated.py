"""Annotated pictures: drawn in the worker, kept as pictures with origin "annotated", each linked to the one it was drawn over."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull
from api.files.services import link_inputs, sizes_of_inputs
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, S, Stopped
from api.json_types import JsonObject
from api.runtime.picture_rows import record_picture
from api.safety.credentials.provenance import ANNOTATED, provenance_of
from api.safety.output import write_picture
from api.safety.pictures.checking import may_come_back
from api.specs import Spec
from api.vision.overlays import ANNOTATED_FORMAT, Annotation, draw_annotations, encode_annotated

ORIGIN = "annotated"
R = TypeVar("R")


class Annotating(Protocol):
    """What a job found, with the annotated picture on disk where one was asked for."""

    @property
    def annotated(self) -> storage.WrittenFile | None: ...


class AnnotatingKind(JobKind[S]):
    """A kind whose request names a picture, and whose result may have it with what was found drawn over it."""

    def without_models(self) -> bool | tuple[str, Collection[str]]:
        return False

    def expected_sizes(self, spec: S) -> Sequence[tuple[int, int]]:
        return sizes_of_inputs(spec.input_ids) if getattr(spec, "annotate", False) else ()

    def link_inputs(self, spec: S) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def discard(self, output: Annotating) -> None:
        if output.annotated:
            storage.remove_written(output.annotated)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        return describe_annotated(job.result)


def keep_annotated(
    run: RunningJob[Spec], picture: Image.Image, annotations: Sequence[Annotation]
) -> storage.WrittenFile | None:
    """The annotated picture on disk, before its row; None where the check of pictures withholds it. Raises DarkroomError."""
    if not may_come_back(run, picture, "annotated picture"):
        return None
    provenance = provenance_of(run.spec, ANNOTATED)
    with run.measure("save"):
        annotated = draw_annotations(picture, annotations)
        try:
            return write_picture(encode_annotated(annotated), annotated, ANNOTATED_FORMAT, provenance)
        except DiskFull:
            raise DarkroomError("disk_full", 507, "The disk is full; the annotated picture could not be kept.") from None


def finish_annotated(
    run: RunningJob[Any],
    picture: Image.Image,
    result: R | DarkroomError,
    annotations_of: Callable[[R], Sequence[Annotation]],
    output_of: Callable[[R, storage.WrittenFile | None], object],
) -> Outcome:
    """How a job ends whose picture was looked at, with `result` or an error."""
    if run.cancelled:
        return Stopped(run)
    if isinstance(result, DarkroomError):
        return Failed(run, result)
    try:
        annotated = keep_annotated(run, picture, annotations_of(result)) if run.spec.annotate else None
    except DarkroomError as error:
        return Failed(run, error)
    return Finished(run, output_of(result, annotated))


def record_annotated(job: Job, file: storage.WrittenFile | None, source: str) -> JsonObject:
    """Makes its row, and gives what belongs into the job's result; nothing where none is kept."""
    return {"annotated": record_picture(job, file, origin=ORIGIN, source=source)} if file else {}


def describe_annotated(result: dict[str, Any] | None) -> JsonObject | None:
    """A job's result with the addresses of its annotated picture, where it has one."""
    if not result or "annotated" not in result:
        return result
    path = f"/api/images/{result['annotated']['id']}/"
    return {**result, "annotated": {**result["annotated"], "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/"}}
