"""The kind of job that enlarges a picture: its parameters → run → a file and its row. No torch outside `run`."""

from collections.abc import Callable, Iterator, Sequence

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageOps

from api.errors import DarkroomError
from api.files import storage
from api.files.decoding import flatten
from api.files.errors import DiskFull
from api.files.formats import FORMATS
from api.files.services import link_inputs, sizes_of_inputs
from api.images.handler import render_image
from api.images.metadata import encode_image
from api.images.models import GeneratedImage
from api.images.services import record_derived
from api.images.upscaling.enlarging import TilesAsSteps, enlarge
from api.images.upscaling.no_effect import describe_crop, idle_blend
from api.images.upscaling.parameters import file_parameters
from api.images.upscaling.spec import UpscaleSpec
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Finished, Outcome, RunningJob
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from api.safety.credentials.provenance import ENHANCED, provenance_of
from api.safety.output import write_picture
from api.safety.pictures.checking import refuse_if_withheld

Run = RunningJob[UpscaleSpec]


class Upscale(JobKind[UpscaleSpec]):
    name = UpscaleSpec.kind
    title = _("Enlarge")
    spec_class = UpscaleSpec

    def without_models(self) -> bool:
        return False

    def expected_sizes(self, spec: UpscaleSpec) -> Sequence[tuple[int, int]]:
        if spec.width and spec.height:
            return [(spec.width, spec.height)]
        return [(width * spec.scale, height * spec.scale) for width, height in sizes_of_inputs([spec.image])]

    def link_inputs(self, spec: UpscaleSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def find_warnings(self, spec: UpscaleSpec) -> Iterator[str]:
        yield from idle_blend(spec)
        for width, height in sizes_of_inputs([spec.image]):
            yield from describe_crop(spec, width, height)

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        for run in batch:
            spec = run.spec
            enlarged = enlarge(run, spec, open_source(run), TilesAsSteps(run))
            refuse_if_withheld(run, enlarged)
            yield Finished(run, save(run, bring_to_size(enlarged, spec)))

    def record(self, job: Job, output: storage.WrittenFile) -> JsonObject:
        source = self.read_spec(job).image
        image = record_derived(job, output, origin=GeneratedImage.Origin.UPSCALED, source=source)
        return {"images": [image], "source_image": source}

    def discard(self, output: storage.WrittenFile) -> None:
        storage.remove_written(output)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        return {**job.result, "images": [render_image(image, include) for image in job.result["images"]]}


def open_source(run: Run) -> Image.Image:
    """Raises MissingFile."""
    with run.measure("decode"):
        return open_input(run.spec.image, "RGBA")


def bring_to_size(picture: Image.Image, spec: UpscaleSpec) -> Image.Image:
    if spec.width is None or spec.height is None or picture.size == (spec.width, spec.height):
        return picture
    return ImageOps.fit(picture, (spec.width, spec.height), Image.Resampling.LANCZOS)


def save(run: Run, picture: Image.Image) -> storage.WrittenFile:
    """Raises DarkroomError."""
    row = FORMATS[run.spec.output_format]
    if picture.mode == "RGBA" and not row.has_alpha:
        picture = flatten(picture, "RGB")
        run.warn(f"{row.label_with_article} has no transparency: the picture was laid on white.")
    parameters = file_parameters(run.spec, run.id) if settings.IMAGE_METADATA else None
    with run.measure("save"):
        try:
            data = encode_image(picture, row.name, parameters, run.warn)
            return write_picture(data, picture, row.name, provenance_of(run.spec, ENHANCED))
        except DiskFull:
            raise DarkroomError("disk_full", 507, "The disk is full; the enlarged picture could not be kept.") from None
