"""What a job that makes a control map is. Needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _
from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull
from api.files.formats import FORMATS, encode
from api.files.services import link_inputs, sizes_of_inputs
from api.images.control.spec import PreprocessSpec
from api.images.models import GeneratedImage
from api.images.rendering import render_image
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from api.runtime.picture_rows import record_picture
from api.safety.credentials.provenance import FILTERED, provenance_of
from api.safety.output import write_picture
from api.safety.pictures.checking import refuse_if_withheld

Run = RunningJob[PreprocessSpec]
FORMAT = "png"


@dataclass(frozen=True)
class ControlMap:
    """On disk, before its row."""

    file: storage.WrittenFile


class Preprocess(JobKind[PreprocessSpec]):
    name = PreprocessSpec.kind
    title = _("Map for a ControlNet")
    spec_class = PreprocessSpec

    def without_models(self) -> bool:
        return True

    def expected_sizes(self, spec: PreprocessSpec) -> Sequence[tuple[int, int]]:
        return sizes_of_inputs([spec.image])

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        for run in batch:
            yield Stopped(run) if run.cancelled else preprocess(run)

    def record(self, job: Job, output: ControlMap) -> JsonObject:
        source = self.read_spec(job).image
        return {"images": [record_picture(job, output.file, origin=GeneratedImage.Origin.PREPROCESSED, source=source)]}

    def discard(self, output: ControlMap) -> None:
        storage.remove_written(output.file)

    def link_inputs(self, spec: PreprocessSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        return {"images": [render_image(image, include) for image in job.result["images"]]}


def preprocess(run: Run) -> Outcome:
    try:
        with run.measure("decode"):
            picture = open_input(run.spec.image)
        with run.measure("preprocess"):
            made = make_map(picture, run.spec.preprocessor)
        refuse_if_withheld(run, made)
        with run.measure("save"):
            file = write_picture(encode(made, FORMATS[FORMAT]), made, FORMAT, provenance_of(run.spec, FILTERED))
            return Finished(run, ControlMap(file))
    except DiskFull:
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the map could not be kept."))
    except DarkroomError as error:
        return Failed(run, error)


def make_map(picture: Image.Image, preprocessor: str) -> Image.Image:
    import numpy as np

    from api.images.backends.preprocessors.maps import MAPS

    return Image.fromarray(MAPS[preprocessor](np.asarray(picture)))
