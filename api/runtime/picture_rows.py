"""Who keeps pictures: images registers from its apps.py, so that other capabilities make rows of pictures without importing it."""

from typing import Protocol

from api.files.storage import WrittenFile
from api.jobs.models import Job
from api.json_types import JsonObject


class PictureRecorder(Protocol):
    def __call__(self, job: Job, file: WrittenFile, *, origin: str, source: str, index: int = 0) -> JsonObject:
        """Makes the row of a picture that `job` made from another, whose id is `source`; returns its id, width and height.

        Belongs into the transaction that ends the job.
        """


_recorders: list[PictureRecorder] = []


def register(recorder: PictureRecorder) -> None:
    _recorders[:] = [recorder]


def record_picture(job: Job, file: WrittenFile, *, origin: str, source: str, index: int = 0) -> JsonObject:
    """See PictureRecorder. `origin`: a value of GeneratedImage.Origin."""
    [recorder] = _recorders
    return recorder(job, file, origin=origin, source=source, index=index)
