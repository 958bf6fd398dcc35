"""What a job that holds pictures against prompts is. torch is imported inside `run`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from api.errors import DarkroomError
from api.files.models import StoredFile
from api.files.services import link_inputs
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from api.runtime.model_use import measured, raise_if_unwanted, report_to
from api.scoring.backends.figures import PromptScore as Figures
from api.scoring.models import PromptScore
from api.scoring.spec import ClipScoreSpec

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.scoring.backends.clip import ClipEncoder, Floats

Run = RunningJob[ClipScoreSpec]
ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Measured:
    """`cosines[i][j]`: of the i-th picture and the j-th prompt. `cut`: places of prompts whose end the model doesn't see.

    The model's probabilities of a picture's prompts are the softmax of `logit_scale` times their cosines.
    """

    cosines: list[list[float]]
    cut: list[int]
    logit_scale: float


class ClipScoring(JobKind[ClipScoreSpec]):
    name = ClipScoreSpec.kind
    title = _("Prompt match")
    spec_class = ClipScoreSpec
    max_batch = 32

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        from api.model_loader import get_loader
        from api.scoring.backends.clip import ClipEncoder

        encoder = ClipEncoder(get_loader(), batch[0].spec.model_id)
        with measured(batch, "load"):
            encoder.load(report_to(batch))
        yield from compare_batch(batch, encoder)

    def record(self, job: Job, output: Measured) -> JsonObject:
        spec = self.read_spec(job)
        here = set(map(str, StoredFile.objects.filter(pk__in=spec.images).values_list("pk", flat=True)))
        rows = [make_row(job, spec, output, here, image, prompt) for image, prompt in spec.kept_places]
        PromptScore.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)
        return {"model": spec.model_id, "cosines": output.cosines, "truncated": output.cut, "logit_scale": output.logit_scale}

    def link_inputs(self, spec: ClipScoreSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        spec, model, cosines = self.read_spec(job), job.result["model"], job.result["cosines"]
        scores = [[Figures(cosine, model).as_dict() for cosine in row] for row in cosines]
        images = [describe_image(identifier) for identifier in spec.images]
        shown = {"model": model, "images": images, "prompts": list(spec.prompts), "scores": scores}
        pairs = {"pairs": [row[place] for place, row in enumerate(scores)]} if spec.pairs else {}
        return {**shown, **pairs, "truncated": job.result["truncated"]}


def describe_image(identifier: str) -> dict[str, str]:
    path = f"/api/images/{identifier}/"
    return {"id": identifier, "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/"}


def make_row(job: Job, spec: ClipScoreSpec, output: Measured, here: set[str], image: int, prompt: int) -> PromptScore:
    identifier = spec.images[image]
    return PromptScore(
        job=job,
        owner_key=job.owner_key,
        image_id=identifier if identifier in here else None,  # it may have been deleted meanwhile
        image_index=image,
        prompt_index=prompt,
        prompt=spec.prompts[prompt],
        clip_cosine=output.cosines[image][prompt],
        clip_model=spec.model_id,
    )


# ---------------------------------------------------------------- run


def compare_batch(batch: Sequence[Run], encoder: "ClipEncoder") -> Iterator[Outcome]:
    """The pictures of all jobs together, and all their prompts. A job whose picture can't be had fails alone."""
    opened = [(run, open_pictures(run, encoder)) for run in batch]
    yield from (found for _, found in opened if not isinstance(found, list))
    yield from (Stopped(run) for run, found in opened if isinstance(found, list) and run.cancelled)
    going = [(run, found) for run, found in opened if isinstance(found, list) and not run.cancelled]
    if going:
        yield from compare(going, encoder)


def compare(going: Sequence[tuple[Run, list["PixelArray"]]], encoder: "ClipEncoder") -> Iterator[Outcome]:
    runs = [run for run, _ in going]
    with measured(runs, "score"):
        images = embed(runs, [pixels for _, seen in going for pixels in seen], encoder)
        prompts = [prompt for run in runs for prompt in run.spec.prompts]
        texts, cut = encoder.embed_texts(prompts), encoder.truncated(prompts)
        scale = round(encoder.logit_scale, 4)
    image = prompt = 0
    for run, seen in going:
        mine, asked = slice(image, image + len(seen)), slice(prompt, prompt + len(run.spec.prompts))
        cosines = (images[mine] @ texts[asked].T).astype(float).round(6).tolist()
        truncated = [place for place, is_cut in enumerate(cut[asked]) if is_cut]
        for place in truncated:
            run.warn(f"Prompt {place + 1} is longer than {run.spec.model_id} reads: its end did not count.")
        yield Finished(run, Measured(cosines, truncated, scale))
        image, prompt = mine.stop, asked.stop


def embed(runs: Sequence[Run], pixel_arrays: Sequence["PixelArray"], encoder: "ClipEncoder") -> "Floats":
    """(N, D), each of length 1. Stops between two passes when nobody wants the result any more."""
    import numpy as np

    from api.scoring.backends.clip import MOST_PICTURES, normalized

    found = []
    for start in range(0, len(pixel_arrays), MOST_PICTURES):
        raise_if_unwanted(runs)
        found.append(encoder.features_of(pixel_arrays[start : start + MOST_PICTURES]))
    return normalized(np.concatenate(found))


def open_pictures(run: Run, encoder: "ClipEncoder") -> "list[PixelArray] | Outcome":
    """What the model sees of the job's pictures, or the job's end. Equal pictures are looked at once."""
    found: dict[str, PixelArray] = {}
    images = run.spec.images
    try:
        with run.measure("decode"):
            for identifier in dict.fromkeys(images):
                if run.cancelled:
                    return Stopped(run)
                found[identifier] = encoder.preprocess(open_input(identifier))
                run.progress(step=len(found), steps=len(images) + 1)
    except DarkroomError as error:
        return Failed(run, error)
    return [found[identifier] for identifier in images]
