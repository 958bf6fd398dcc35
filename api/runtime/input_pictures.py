"""The pictures that a request starts from, opened in a worker."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from PIL import Image

from api.errors import DarkroomError
from api.files.decoding import Mode
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image
from api.jobs.running import Failed, Outcome, RunningJob, Stopped

Run = TypeVar("Run", bound=RunningJob[Any])
Request = TypeVar("Request")


def open_input(identifier: str, mode: Mode = "RGB") -> Image.Image:
    """By the id of a StoredFile, upright: an upload was turned as its EXIF says when it was stored. Raises MissingFile."""
    file = StoredFile.objects.filter(pk=identifier).first()
    if file is None:
        raise MissingFile
    return open_image(file, mode)


def open_batch(
    batch: Sequence[Run], request_of: Callable[[Image.Image, Run], Request]
) -> tuple[list[tuple[Run, Request]], list[Outcome]]:
    """Opens the picture (`spec.image`) of each run. Those that go on, with what a backend is asked; and the ends of the others: a job
    that was cancelled, or whose picture can't be had.
    """
    going: list[tuple[Run, Request]] = []
    ended: list[Outcome] = []
    for run in batch:
        if run.cancelled:
            ended.append(Stopped(run))
            continue
        try:
            with run.measure("decode"):
                picture = open_input(run.spec.image)
        except DarkroomError as error:
            ended.append(Failed(run, error))
        else:
            going.append((run, request_of(picture, run)))
    return going, ended
