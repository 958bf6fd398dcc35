"""What a job that asks for the vectors of texts and pictures is: those that prompt scores are the cosines of. torch inside `run` alone."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from django.utils.translation import gettext_lazy as _

from api.errors import DarkroomError
from api.files.services import link_inputs
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from api.runtime.model_use import measured, raise_if_unwanted, report_to
from api.scoring.models import InputVectors
from api.scoring.spec import FULL_BATCH, EmbeddingItem, EmbeddingSpec

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.scoring.backends.clip import ClipEncoder, Floats

Run = RunningJob[EmbeddingSpec]
T = TypeVar("T")


@dataclass(frozen=True)
class Embedded:
    """`vectors`: (N, D), each of length 1. `cut`: places of texts whose end the model doesn't see. `tokens`: what it has read."""

    vectors: "Floats"
    cut: list[int]
    tokens: int


class Embedding(JobKind[EmbeddingSpec]):
    name = EmbeddingSpec.kind
    title = _("Embed")
    spec_class = EmbeddingSpec
    max_batch = 32

    def cost(self, spec: EmbeddingSpec) -> float:
        return max(1.0, len(spec.input) / FULL_BATCH)

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        from api.model_loader import get_loader
        from api.scoring.backends.clip import ClipEncoder

        encoder = ClipEncoder(get_loader(), batch[0].spec.model)
        with measured(batch, "load"):
            encoder.load(report_to(batch))
        yield from embed_batch(batch, encoder)

    def record(self, job: Job, output: Embedded) -> JsonObject:
        count, dimensions = output.vectors.shape
        InputVectors.objects.create(job=job, dimensions=dimensions, data=output.vectors.astype("<f4").tobytes())
        return {
            "model": job.model_id,
            "count": count,
            "dimensions": dimensions,
            "truncated": output.cut,
            "usage": {"prompt_tokens": output.tokens, "total_tokens": output.tokens},
        }

    def link_inputs(self, spec: EmbeddingSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result or "base64" not in include:
            return job.result
        return {**job.result, "embeddings_base64": [b64encode(row).decode() for row in vectors_of(job)]}


def vectors_of(job: Job) -> list[bytes]:
    """Of a job that has succeeded: one for each input, as float32, little-endian."""
    return InputVectors.objects.get(pk=job.pk).rows()


# ---------------------------------------------------------------- run


@dataclass
class Work:
    """One job, and what is known of its inputs by their place."""

    run: Run
    rows: "dict[int, Floats]" = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    failure: DarkroomError | None = None

    @property
    def goes_on(self) -> bool:
        return self.failure is None and not self.run.cancelled

    def report(self) -> None:
        if self.goes_on:
            self.run.progress(step=len(self.rows), steps=len(self.run.spec.input))


Place = tuple[Work, int, EmbeddingItem]


def embed_batch(batch: Sequence[Run], encoder: "ClipEncoder") -> Iterator[Outcome]:
    """The texts of all jobs together, and all their pictures. A job whose picture can't be had fails alone."""
    from api.scoring.backends.clip import MOST_PICTURES, MOST_TEXTS

    works = [Work(run) for run in batch]
    places = [(work, place, item) for work in works for place, item in enumerate(work.run.spec.input)]
    for chunk in chunks([one for one in places if one[2].image is None], MOST_TEXTS):
        with measured(batch, "embed"):
            embed_texts(begin(batch, chunk), encoder)
    for chunk in chunks([one for one in places if one[2].image is not None], MOST_PICTURES):
        embed_pictures(begin(batch, chunk), encoder)
    yield from (outcome_of(work, encoder.context_length) for work in works)


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    yield from (items[start : start + size] for start in range(0, len(items), size))


def begin(batch: Sequence[Run], chunk: list[Place]) -> list[Place]:
    """What of it is still to be done. Raises JobCancelled where that is nothing, and never will be more."""
    raise_if_unwanted(batch)
    for work in {id(one[0]): one[0] for one in chunk}.values():
        work.report()
    return [one for one in chunk if one[0].goes_on]


def embed_texts(chunk: list[Place], encoder: "ClipEncoder") -> None:
    if texts := [item.text or "" for _, _, item in chunk]:
        found = zip(chunk, encoder.raw_text_features(texts), encoder.count_tokens(texts), strict=True)
        for (work, place, _), row, count in found:
            work.rows[place], work.tokens[place] = row, count


def embed_pictures(chunk: list[Place], encoder: "ClipEncoder") -> None:
    seen = [(work, place, pixels) for work, place, item in chunk if (pixels := read_pixels(work, item, encoder)) is not None]
    with measured([work.run for work, _place, _pixels in seen], "embed"):
        features = encoder.features_of([pixels for _work, _place, pixels in seen])
    for (work, place, _pixels), row in zip(seen, features, strict=True):
        work.rows[place], work.tokens[place] = row, encoder.patches


def read_pixels(work: Work, item: EmbeddingItem, encoder: "ClipEncoder") -> "PixelArray | None":
    """None where the picture can't be had, and where another one of the same job couldn't."""
    if not work.goes_on:
        return None
    try:
        with work.run.measure("decode"):
            return encoder.preprocess(open_input(str(item.image)))
    except DarkroomError as error:
        work.failure = error
        return None


def outcome_of(work: Work, context: int) -> Outcome:
    import numpy as np

    from api.scoring.backends.clip import normalized

    run, spec = work.run, work.run.spec
    if work.failure is not None:
        return Failed(run, work.failure)
    if run.cancelled:
        return Stopped(run)
    vectors = np.stack([work.rows[place] for place in range(len(spec.input))])
    wanted = spec.dimensions or vectors.shape[1]
    if wanted > vectors.shape[1]:
        detail = f"The vectors of {spec.model} have {vectors.shape[1]} numbers; {wanted} were asked for."
        return Failed(run, DarkroomError("too_many_dimensions", 400, detail))
    cut = [place for place, item in enumerate(spec.input) if item.image is None and work.tokens[place] > context]
    if cut:
        run.warn(cut_warning(cut, spec.model, context))
    read = sum(min(count, context) if spec.input[place].image is None else count for place, count in work.tokens.items())
    return Finished(run, Embedded(normalized(vectors[:, :wanted]), cut, read))


def cut_warning(cut: list[int], model: str, context: int) -> str:
    """Names the first of them; the result's `truncated` has all."""
    named, more = ", ".join(str(place) for place in cut[:20]), len(cut) - 20
    which = f"input {named}" + (f" and {more} more" if more > 0 else "")
    return f"{model} reads {context} tokens of a text; of {which} (counted from 0) only the beginning counts."
