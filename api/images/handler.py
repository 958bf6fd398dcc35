"""What a job that makes pictures is: its parameters → its batch key → run → files and rows. No torch outside `run`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull, MissingFile
from api.files.models import StoredFile
from api.files.services import attach_inputs, create_file, open_image, read_file
from api.images.candidates import candidates_context
from api.images.hooks import RunHooks
from api.images.judges import independent_criteria, make_judges
from api.images.models import GeneratedImage
from api.images.no_effect import find_warnings
from api.images.output_sinks import BestOfN, CollectAll, GeneratedPicture, OutputSink, SelectedPictures
from api.images.ranking import weights_of
from api.images.services import link_sources, set_tags
from api.jobs.kinds import JobKind, batch_key_of
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from config.catalog import get_catalog

if TYPE_CHECKING:
    from api.images.backends.request import ImageRequest, RunResult

Origin = GeneratedImage.Origin
INPUT_ROLES = ("image", "mask")
"""Fields of a request that name a picture which the others are made from."""


@dataclass(frozen=True)
class Picture:
    """A picture on disk, before its row."""

    file: storage.WrittenFile
    made: GeneratedPicture
    index: int


@dataclass(frozen=True)
class Output:
    """What a job has come to; see `SelectedPictures`."""

    pictures: list[Picture]
    choice: SelectedPictures


class Txt2Img(JobKind):
    name = "txt2img"
    template = "admin/images/candidates.html"

    def batch_key(self, params: dict[str, Any], model_id: str) -> str:
        """'' for `deterministic`, and for a request of several pictures or candidates, which fills a batch by itself."""
        if params["deterministic"] or params["num_images"] > 1 or params.get("best_of"):
            return ""
        return batch_key_of(self.name, image_request(params, model_id).batch_fields)

    def batch_limit(self) -> int:
        return settings.MAX_BATCH  # type: ignore[no-any-return]

    def find_warnings(self, params: dict[str, Any], model_id: str) -> Iterator[str]:
        return find_warnings(params, model_id)

    def without_models(self) -> bool:
        return not settings.USE_LOCAL_MODELS

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        requests = [
            replace(
                image_request(run.params, run.job.model_id),
                image=open_input(run.params.get("image"), "RGB"),
                mask=open_input(run.params.get("mask"), "L"),
            )
            for run in batch
        ]
        with open_sink(batch, requests) as sink:
            run_results = make_pictures(batch, requests, sink)
            for index, (run, run_result) in enumerate(zip(batch, run_results, strict=True)):
                if run.cancelled:
                    yield Stopped(run)
                elif isinstance(run_result, DarkroomError):
                    yield Failed(run, run_result)
                else:
                    yield save(run, sink.choose(index))

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        sources = find_sources(job)
        images = [describe(record_picture(job, picture, sources)) for picture in output.pictures]
        ranking = {"ranking": output.choice.ranking} if output.choice.ranking else {}
        return {"images": images, "candidates": output.choice.candidates, **ranking}

    def discard(self, output: Any) -> None:
        for picture in output.pictures:
            storage.remove_written(picture.file)

    def link_inputs(self, params: dict[str, Any]) -> Any:
        ids = [params[name] for name in INPUT_ROLES if params.get(name)]
        return (lambda job: attach_inputs(job, StoredFile.objects.filter(pk__in=ids))) if ids else None

    def render_params(self, job: Job) -> dict[str, Any]:
        return {"model_id": job.model_id, **job.params}

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
        if not job.result:
            return job.result
        return {**job.result, "images": [render_image(image, include) for image in job.result["images"]]}

    def describe(self, job: Job) -> dict[str, Any]:
        candidates = candidates_context(job.result)
        return {"candidates": candidates} if candidates else {}


class Img2Img(Txt2Img):
    name = "img2img"


# ---------------------------------------------------------------- run


def image_request(params: dict[str, Any], model_id: str) -> "ImageRequest":
    """What a backend is asked for, but for the pictures."""
    from api.images.backends.request import ImageRequest

    names = (
        "prompt",
        "negative_prompt",
        "width",
        "height",
        "steps",
        "guidance_scale",
        "scheduler",
        "clip_skip",
        "deterministic",
    )
    return ImageRequest(
        task="inpainting" if params.get("mask") else "image-to-image" if params.get("image") else "text-to-image",
        model_id=model_id,
        seeds=tuple(params["seed"] + index for index in range(params.get("best_of") or params["num_images"])),
        strength=1.0 if params.get("strength") is None else params["strength"],
        loras=tuple((lora["id"], lora["weight"]) for lora in params["loras"]),
        **{name: params[name] for name in names},
    )


def open_input(identifier: str | None, mode: Any) -> Image.Image | None:
    if identifier is None:
        return None
    file = StoredFile.objects.filter(pk=identifier).first()
    if file is None:
        raise MissingFile
    return open_image(file, mode)


def open_sink(runs: Sequence[RunningJob], requests: Sequence["ImageRequest"]) -> OutputSink:
    """What takes the pictures: with `best_of`, which is never batched, those that come first; else all of them."""
    params, hooks = runs[0].params, RunHooks(runs)
    prompt_scores = ["clip"] if settings.PROMPT_SCORES else []
    if not params.get("best_of"):
        judges = make_judges(prompt_scores, hooks.warn_about)
        return CollectAll(judges, [request.prompt for request in requests], [request.seeds for request in requests], hooks)
    [request] = requests
    deciding = weights_of(params["rank_by"])
    judges = make_judges([*deciding, *prompt_scores, *independent_criteria(deciding)], hooks.warn_about)
    return BestOfN(judges, request.prompt, request.seeds, params["rank_by"], params["num_images"], hooks)


def make_pictures(runs: Sequence[RunningJob], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    """For each request whether its pictures were made, or the error that is its own.

    Raises DarkroomError for what ends them all, and DeviceFault when the device can't be used any more.
    """
    return make_here(runs, requests, sink) if settings.USE_LOCAL_MODELS else make_remotely(runs, requests, sink)


def make_here(runs: Sequence[RunningJob], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    from api.images.backends.local import make_pictures
    from api.model_loader import get_loader

    return make_pictures(get_loader(), requests, RunHooks(runs), sink)


def make_remotely(runs: Sequence[RunningJob], requests: Sequence["ImageRequest"], sink: OutputSink) -> Sequence["RunResult"]:
    from api.images.backends.remote import RemoteBackend

    backend = RemoteBackend(
        token=settings.HF_TOKEN or None,
        endpoint=settings.HF_INFERENCE_ENDPOINT or None,
        provider=settings.HF_PROVIDER or None,
        timeout=settings.REMOTE_TIMEOUT_SECONDS,
    )
    catalog = get_catalog()
    run_results = [
        backend.make_pictures(request, RunHooks([run]), partial(sink.take, index), model=catalog.get(request.model_id).repo)
        for index, (run, request) in enumerate(zip(runs, requests, strict=True))
    ]
    sink.close()
    return run_results


def save(run: RunningJob, choice: SelectedPictures) -> Outcome:
    pictures: list[Picture] = []
    try:
        with run.measure("save"):
            for index, made in enumerate(choice.kept):
                pictures.append(Picture(save_picture(run, made), made, index))
    except DiskFull:
        for picture in pictures:
            storage.remove_written(picture.file)
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the pictures could not be kept."))
    return Finished(run, Output(pictures, choice))


def save_picture(run: RunningJob, made: GeneratedPicture) -> storage.WrittenFile:
    from api.images.metadata import encode_image

    params = run.params
    described = {**params, "seed": made.seed, "model_id": run.job.model_id, "job": str(run.id), "scores": made.scores}
    data = encode_image(made.picture, params["output_format"], described if settings.IMAGE_METADATA else None, run.warn)
    return storage.write_image_files(data, made.picture, params["output_format"])


# ---------------------------------------------------------------- record and render


def find_sources(job: Job) -> dict[str, GeneratedImage]:
    """By role, those that are pictures here; what a request brought with it is a file of the job alone."""
    ids = {role: job.params[role] for role in INPUT_ROLES if job.params.get(role)}
    found = {str(image.pk): image for image in GeneratedImage.objects.filter(pk__in=ids.values())}
    return {role: found[pk] for role, pk in ids.items() if pk in found}


def record_picture(job: Job, picture: Picture, sources: dict[str, GeneratedImage]) -> GeneratedImage:
    params = job.params
    image = GeneratedImage.objects.create(
        file=create_file(picture.file, owner_key=job.owner_key, purpose=storage.OUTPUT),
        job=job,
        index=picture.index,
        owner_key=job.owner_key,
        origin=Origin.EDITED if params.get("image") else Origin.GENERATED,
        model_id=job.model_id,
        prompt=params["prompt"],
        negative_prompt=params["negative_prompt"],
        seed=picture.made.seed,
        steps=params["steps"],
        guidance_scale=params["guidance_scale"],
        scheduler=params["scheduler"] or "",
        strength=params.get("strength"),
        width=picture.file.width,
        height=picture.file.height,
        parameters={**params, "seed": picture.made.seed},
        rank=picture.made.rank,
        scores=picture.made.scores,
        clip_score=picture.made.scores.get("clip_score"),
    )
    link_sources(image, sources)
    if params["tags"]:
        set_tags(image, params["tags"])
    return image


def describe(image: GeneratedImage) -> dict[str, Any]:
    return {
        "id": str(image.pk),
        "width": image.width,
        "height": image.height,
        "seed": image.seed,
        "rank": image.rank,
        "scores": image.scores,
    }


def render_image(image: dict[str, Any], include: frozenset[str]) -> dict[str, Any]:
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
