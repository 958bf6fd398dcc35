"""What a job that makes pictures is: its parameters → its batch key → run → files and rows. No torch outside `run`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from api.errors import DarkroomError
from api.files.services import create_output, link_inputs
from api.images.candidates import candidates_context
from api.images.finishing import choose_finished, finish_kept
from api.images.grids.sizes import result_sizes
from api.images.hooks import RunHooks
from api.images.models import GeneratedImage
from api.images.no_effect import find_warnings
from api.images.output_sinks import OutputSink
from api.images.pictures import Output, Picture, Run, discard, ending_alone, file_notes, open_request, open_sink, save
from api.images.rendering import render_image
from api.images.scheduler_presets import UNET_FAMILIES
from api.images.services import Source, link_sources, set_tags
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.jobs.kinds import JobKind, Session
from api.jobs.models import Job
from api.jobs.running import Failed, Outcome, Stopped
from api.json_types import JsonObject
from api.specs import as_json, make_batch_key
from config.catalog import get_catalog

if TYPE_CHECKING:
    from api.images.backends.request import ImageRequest, RunResult

Origin = GeneratedImage.Origin


class Txt2Img(JobKind[Txt2ImgSpec]):
    name = Txt2ImgSpec.kind
    title = _("Make a picture")
    spec_class = Txt2ImgSpec
    template = "admin/images/candidates.html"

    def batch_limit(self) -> int:
        return settings.MAX_BATCH  # type: ignore[no-any-return]

    def find_warnings(self, spec: Txt2ImgSpec) -> Iterator[str]:
        return find_warnings(spec)

    def without_models(self) -> bool:
        return not settings.USE_LOCAL_MODELS

    def expected_sizes(self, spec: Txt2ImgSpec) -> Sequence[tuple[int, int]]:
        """Of those that are kept: of best_of the others are no files."""
        return result_sizes([spec]) * spec.num_images

    def batch_key(self, spec: Txt2ImgSpec) -> str:
        """One session takes all requests with a model and adapters in common, of both kinds."""
        return make_batch_key("images", [spec.model_id, as_json(spec.loras)]) if runs_in_session(spec) else spec.batch_key()

    def open_session(self, spec: Txt2ImgSpec) -> Session | None:
        if not runs_in_session(spec):
            return None
        from api.images.backends.engine.engine import Engine
        from api.images.session import ImageSession
        from api.model_loader import get_loader

        loader = get_loader()
        return ImageSession(Engine(loader, spec.model_id, spec.loras), saves_beside=loader.device.type != "cpu")

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        requests = [open_request(run.spec) for run in batch]
        with open_sink(batch) as sink:
            run_results = make_pictures(batch, requests, sink)
            for index, (run, run_result) in enumerate(zip(batch, run_results, strict=True)):
                yield from ending_alone(run, partial(finish, run, sink, index, run_result))

    def record(self, job: Job, output: Output) -> JsonObject:
        sources = find_sources(output.spec)
        images = [
            {**describe(record_picture(job, output.spec, picture, sources)), **picture.file.credentials_field}
            for picture in output.pictures
        ]
        ranking = {"ranking": output.choice.ranking} if output.choice.ranking else {}
        preset = {"preset": output.spec.preset} if output.spec.preset else {}
        check = {"picture_check": output.choice.check} if output.choice.check else {}
        return {"images": images, "candidates": output.choice.candidates, **ranking, **preset, **check}

    def discard(self, output: Output) -> None:
        discard(output)

    def link_inputs(self, spec: Txt2ImgSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render_params(self, spec: Txt2ImgSpec) -> JsonObject:
        """Without the preset, whose fields are all among them."""
        return {name: value for name, value in spec.to_json().items() if name != "preset"}

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        return {**job.result, "images": [render_image(image, include) for image in job.result["images"]]}

    def describe(self, job: Job) -> dict[str, object]:
        candidates = candidates_context(job.result)
        return {"candidates": candidates} if candidates else {}


class Img2Img(Txt2Img):
    name = Img2ImgSpec.kind
    title = _("Edit a picture")
    spec_class = Img2ImgSpec


# ---------------------------------------------------------------- run


def runs_in_session(spec: Txt2ImgSpec) -> bool:
    """Whether the engine makes the pictures, beside those of others. A deterministic request must not have neighbours."""
    entry = get_catalog().find_model(spec.model_id)
    is_unet = entry is not None and entry.family in UNET_FAMILIES
    return is_unet and settings.USE_LOCAL_MODELS and not spec.deterministic


def finish(run: Run, sink: OutputSink, index: int, run_result: "RunResult") -> list[Outcome]:
    """Raises DarkroomError for what is wrong with this job."""
    if not run.cancelled and isinstance(run_result, DarkroomError):
        return [Failed(run, run_result)]
    chosen = choose_finished(run, sink, index) if run.cancelled else finish_kept(run, sink.choose(index))
    return [Stopped(run) if chosen is None else save(run, chosen, file_notes(run.spec))]


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


# ---------------------------------------------------------------- record and render


def find_sources(spec: Txt2ImgSpec) -> list[Source]:
    """Those that are pictures here, with their roles; what a request brought with it is a file of the job alone."""
    varied = spec.variation.image if spec.variation else None
    own = [("image", spec.image), ("mask", spec.mask)] if isinstance(spec, Img2ImgSpec) else [("image", varied)]
    steering = [*(("control", use.image) for use in spec.control), *(("prompt", use.image) for use in spec.ip_adapter)]
    ids = [(role, UUID(pk)) for role, pk in (*own, *steering) if pk]
    found = GeneratedImage.objects.in_bulk([pk for _, pk in ids]) if ids else {}
    return [(role, found[pk]) for role, pk in ids if pk in found]


def record_picture(job: Job, spec: Txt2ImgSpec, picture: Picture, sources: Sequence[Source]) -> GeneratedImage:
    clip_score = picture.made.scores.get("clip_score")
    image = GeneratedImage.objects.create(
        file=create_output(job, picture.file),
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
