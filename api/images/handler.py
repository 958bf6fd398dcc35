"""What a job that makes pictures is: its parameters → its batch key → run → files and rows. No torch outside `run`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull, MissingFile
from api.files.models import StoredFile
from api.files.services import create_file, link_inputs, read_file
from api.images.candidates import candidates_context
from api.images.hooks import RunHooks
from api.images.judges import independent_criteria, make_judges, say_nothing
from api.images.models import GeneratedImage
from api.images.no_effect import find_warnings
from api.images.output_sinks import BestOfN, CollectAll, GeneratedPicture, OutputSink, SelectedPictures
from api.images.ranking import DEFAULT, weights_of
from api.images.services import link_sources, set_tags
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from config.catalog import get_catalog

if TYPE_CHECKING:
    from api.images.backends.request import ImageRequest, RunResult

Run = RunningJob[Txt2ImgSpec]
Origin = GeneratedImage.Origin


@dataclass(frozen=True)
class Picture:
    """A picture on disk, before its row."""

    file: storage.WrittenFile
    made: GeneratedPicture
    index: int


@dataclass(frozen=True)
class Output:
    """What a job has come to; see `SelectedPictures`."""

    spec: Txt2ImgSpec
    pictures: list[Picture]
    choice: SelectedPictures


class Txt2Img(JobKind[Txt2ImgSpec]):
    name = Txt2ImgSpec.kind
    spec_class = Txt2ImgSpec
    template = "admin/images/candidates.html"

    def batch_limit(self) -> int:
        return settings.MAX_BATCH  # type: ignore[no-any-return]

    def find_warnings(self, spec: Txt2ImgSpec) -> Iterator[str]:
        return find_warnings(spec)

    def without_models(self) -> bool:
        return not settings.USE_LOCAL_MODELS

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        requests = [open_request(run.spec) for run in batch]
        with open_sink(batch) as sink:
            run_results = make_pictures(batch, requests, sink)
            for index, (run, run_result) in enumerate(zip(batch, run_results, strict=True)):
                if run.cancelled:
                    yield Stopped(run)
                elif isinstance(run_result, DarkroomError):
                    yield Failed(run, run_result)
                else:
                    yield save(run, sink.choose(index))

    def record(self, job: Job, output: Output) -> JsonObject:
        sources = find_sources(output.spec)
        images = [describe(record_picture(job, output.spec, picture, sources)) for picture in output.pictures]
        ranking = {"ranking": output.choice.ranking} if output.choice.ranking else {}
        return {"images": images, "candidates": output.choice.candidates, **ranking}

    def discard(self, output: Output) -> None:
        for picture in output.pictures:
            storage.remove_written(picture.file)

    def link_inputs(self, spec: Txt2ImgSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        return {**job.result, "images": [render_image(image, include) for image in job.result["images"]]}

    def describe(self, job: Job) -> dict[str, object]:
        candidates = candidates_context(job.result)
        return {"candidates": candidates} if candidates else {}


class Img2Img(Txt2Img):
    name = Img2ImgSpec.kind
    spec_class = Img2ImgSpec


# ---------------------------------------------------------------- run


def open_request(spec: Txt2ImgSpec) -> "ImageRequest":
    """Raises MissingFile."""
    from api.images.backends.request import ImageRequest

    if not isinstance(spec, Img2ImgSpec):
        return ImageRequest(spec)
    return ImageRequest(spec, open_input(spec.image), open_input(spec.mask, "L") if spec.mask else None)


def open_sink(runs: Sequence[Run]) -> OutputSink:
    """What takes the pictures: with `best_of`, which is never batched, those that come first; else all of them."""
    specs, hooks = [run.spec for run in runs], RunHooks(runs)
    prompt_scores = ["clip"] if settings.PROMPT_SCORES else []
    if not specs[0].best_of:
        judges = make_judges(prompt_scores, hooks.warn_about)
        return CollectAll(judges, [spec.prompt for spec in specs], [spec.seeds for spec in specs], hooks)
    [spec] = specs
    rank_by = spec.rank_by or DEFAULT
    deciding = weights_of(rank_by)
    judges = make_judges([*deciding, *prompt_scores], hooks.warn_about) + make_judges(
        independent_criteria(deciding), say_nothing
    )
    return BestOfN(judges, spec.prompt, spec.seeds, rank_by, spec.num_images, hooks)


def make_pictures(runs: Sequence[Run], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    """For each request whether its pictures were made, or the error that is its own.

    Raises DarkroomError for what ends them all, and DeviceFault when the device can't be used any more.
    """
    return make_here(runs, requests, sink) if settings.USE_LOCAL_MODELS else make_remotely(runs, requests, sink)


def make_here(runs: Sequence[Run], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    from api.images.backends.local import make_pictures
    from api.model_loader import get_loader

    return make_pictures(get_loader(), requests, RunHooks(runs), sink)


def make_remotely(runs: Sequence[Run], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    from api.images.backends.remote import RemoteBackend

    backend = RemoteBackend(
        token=settings.HF_TOKEN or None,
        endpoint=settings.HF_INFERENCE_ENDPOINT or None,
        provider=settings.HF_PROVIDER or None,
        timeout=settings.REMOTE_TIMEOUT_SECONDS,
    )
    catalog = get_catalog()
    run_results = [
        backend.make_pictures(
            request, RunHooks([run]), partial(sink.take, index), model=catalog.get(request.spec.model_id).repo
        )
        for index, (run, request) in enumerate(zip(runs, requests, strict=True))
    ]
    sink.close()
    return run_results


def save(run: Run, choice: SelectedPictures) -> Outcome:
    pictures: list[Picture] = []
    try:
        with run.measure("save"):
            for index, made in enumerate(choice.kept):
                pictures.append(Picture(save_picture(run, made), made, index))
    except DiskFull:
        for picture in pictures:
            storage.remove_written(picture.file)
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the pictures could not be kept."))
    return Finished(run, Output(run.spec, pictures, choice))


def save_picture(run: Run, made: GeneratedPicture) -> storage.WrittenFile:
    from api.images.metadata import encode_image

    spec = run.spec
    described = {**spec.to_json(), "seed": made.seed, "job": str(run.id), "scores": made.scores}
    data = encode_image(made.picture, spec.output_format, described if settings.IMAGE_METADATA else None, run.warn)
    return storage.write_image_files(data, made.picture, spec.output_format)


# ---------------------------------------------------------------- record and render


def find_sources(spec: Txt2ImgSpec) -> dict[str, GeneratedImage]:
    """By role, those that are pictures here; what a request brought with it is a file of the job alone."""
    if not isinstance(spec, Img2ImgSpec):
        return {}
    ids = {role: UUID(pk) for role, pk in (("image", spec.image), ("mask", spec.mask)) if pk}
    found = GeneratedImage.objects.in_bulk(list(ids.values()))
    return {role: found[pk] for role, pk in ids.items() if pk in found}


def record_picture(job: Job, spec: Txt2ImgSpec, picture: Picture, sources: dict[str, GeneratedImage]) -> GeneratedImage:
    clip_score = picture.made.scores.get("clip_score")
    image = GeneratedImage.objects.create(
        file=create_file(picture.file, owner_key=job.owner_key, purpose=storage.OUTPUT),
        job=job,
        index=picture.index,
        owner_key=job.owner_key,
        origin=Origin.EDITED if isinstance(spec, Img2ImgSpec) else Origin.GENERATED,
        model_id=spec.model_id,
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        seed=picture.made.seed,
        steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        scheduler=spec.scheduler or "",
        strength=spec.strength if isinstance(spec, Img2ImgSpec) else None,
        width=picture.file.width,
        height=picture.file.height,
        parameters={**spec.to_json(), "seed": picture.made.seed},
        rank=picture.made.rank,
        scores=picture.made.scores,
        clip_score=clip_score if isinstance(clip_score, float) else None,
    )
    link_sources(image, sources)
    if spec.tags:
        set_tags(image, spec.tags)
    return image


def describe(image: GeneratedImage) -> JsonObject:
    return {
        "id": str(image.pk),
        "width": image.width,
        "height": image.height,
        "seed": image.seed,
        "rank": image.rank,
        "scores": image.scores,
    }


def render_image(image: dict[str, Any], include: frozenset[str]) -> JsonObject:
    path = f"/api/images/{image['id']}/"
    shown = {"id": image["id"], "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/", **image}
    return {**shown, "image_base64": read_base64(image["id"])} if "base64" in include else shown


def read_base64(identifier: str) -> str | None:
    """The file's bytes; None where the picture has been deleted since."""
    import base64

    file = StoredFile.objects.filter(pk=identifier).first()
    try:
        return base64.b64encode(read_file(file)).decode() if file else None
    except MissingFile:
        return None
