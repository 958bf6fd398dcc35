"""From a job to the pictures that are kept of it: its request opened, what takes its pictures, and files. No torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from api.errors import DarkroomError, DeviceFault
from api.files import storage
from api.files.errors import DiskFull
from api.images.hooks import RunHooks
from api.images.judges import independent_criteria, make_judges, say_nothing
from api.images.output_sinks import BestOfN, CollectAll, GeneratedPicture, OutputSink, SelectedPictures
from api.images.ranking import DEFAULT, weights_of
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.runtime.input_pictures import open_input
from api.safety.credentials.provenance import EDITED, GENERATED, Provenance, provenance_of
from api.safety.output import write_picture
from api.safety.pictures.policy import policy_of
from config.catalog import get_catalog

if TYPE_CHECKING:
    from api.images.backends.request import ImageRequest

Run = RunningJob[Txt2ImgSpec]
HASH_DIGITS = 10
log = logging.getLogger("darkroom.jobs")
MOST_SPARES = 8
"""Candidates that are held for the places of those that the check withholds: their pixels wait in memory."""


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


def open_request(spec: Txt2ImgSpec) -> ImageRequest:
    """Raises MissingFile."""
    from api.images.backends.request import ImageRequest

    controls = tuple(open_input(use.image) for use in spec.control)
    image_prompts = tuple(open_input(use.image) for use in spec.ip_adapter)
    if not isinstance(spec, Img2ImgSpec):
        return ImageRequest(spec, controls=controls, image_prompts=image_prompts)
    mask = open_input(spec.mask, "L") if spec.mask else None
    return ImageRequest(spec, open_input(spec.image, "RGBA"), mask, controls=controls, image_prompts=image_prompts)


def open_sink(runs: Sequence[Run]) -> OutputSink:
    """What takes the pictures: with `best_of`, which is never batched, those that come first; else all of them."""
    specs, hooks = [run.spec for run in runs], RunHooks(runs)
    syntaxes = {spec.prompt: spec.prompt_syntax for spec in specs}
    prompt_scores = ["clip"] if settings.PROMPT_SCORES else []
    if not specs[0].best_of:
        judges = make_judges(prompt_scores, hooks.warn_about, syntaxes)
        return CollectAll(judges, [spec.prompt for spec in specs], [spec.seeds for spec in specs], hooks)
    [spec] = specs
    rank_by = spec.rank_by or DEFAULT
    deciding = weights_of(rank_by)
    judges = make_judges([*deciding, *prompt_scores], hooks.warn_about, syntaxes) + make_judges(
        independent_criteria(deciding), say_nothing, syntaxes
    )
    spares = MOST_SPARES if policy_of(runs[0].owner_key) else 0
    return BestOfN(judges, spec.prompt, spec.seeds, rank_by, spec.num_images, hooks, spares)


@dataclass(frozen=True)
class FileNotes:
    """What the files of a request's pictures carry beside the request."""

    provenance: Provenance | None
    model_hash: str = ""
    """The first digits of the model file's SHA-256 (AutoV2), by which A1111 and others know it; '' where it isn't known."""


def file_notes(spec: Txt2ImgSpec) -> FileNotes:
    """Asks the database: for the thread that runs models."""
    entry = get_catalog().find_model(spec.model_id)
    provenance = provenance_of(spec, EDITED if isinstance(spec, Img2ImgSpec) else GENERATED)
    return FileNotes(provenance, entry.sha256[:HASH_DIGITS] if entry else "")


def ending_alone(run: Run, work: Callable[[], list[Outcome]]) -> list[Outcome]:
    """One job's error must not end the others. Raises what is no job's fault."""
    try:
        return work()
    except JobCancelled:
        return [Stopped(run)]
    except DarkroomError as error:
        return [Failed(run, error)]
    except (DeviceFault, *CONNECTION_ERRORS):
        raise
    except Exception as error:
        return [Failed(run, explain(run, error))]


def explain(run: Run, error: Exception) -> DarkroomError:
    """What its owner is told of an error that nobody foresaw; the log has the error."""
    log.error("Job %s failed", run.id, exc_info=error)
    return unexpected_error(error)


def save(run: Run, choice: SelectedPictures, notes: FileNotes) -> Outcome:
    """For any thread."""
    pictures: list[Picture] = []
    try:
        with run.measure("save"):
            for index, made in enumerate(choice.kept):
                pictures.append(Picture(save_picture(run, made, notes), made, index))
    except DiskFull:
        remove(pictures)
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the pictures could not be kept."))
    except DarkroomError as error:
        remove(pictures)
        return Failed(run, error)
    except BaseException:
        remove(pictures)
        raise
    return Finished(run, Output(run.spec, pictures, choice))


def save_picture(run: Run, made: GeneratedPicture, notes: FileNotes) -> storage.WrittenFile:
    from api.images.metadata import encode_image

    spec = run.spec
    described = {**spec.to_json(), "seed": made.seed, "job": str(run.id), "scores": made.scores}
    if notes.model_hash:
        described["model_hash"] = notes.model_hash
    carried = described if settings.IMAGE_METADATA else None
    data = encode_image(made.picture, spec.output_format, carried, run.warn, spec.output_quality)
    return write_picture(data, made.picture, spec.output_format, notes.provenance)


def discard(output: Output) -> None:
    """The files of an output that nobody will record."""
    remove(output.pictures)


def remove(pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        storage.remove_written(picture.file)
