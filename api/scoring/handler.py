"""What a job that judges layouts is. How it is run: judging.py."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from django.utils.translation import gettext_lazy as _

from api.files.models import StoredFile
from api.files.services import create_output, link_inputs, sizes_of_inputs
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Outcome, RunningJob
from api.json_types import JsonObject
from api.scoring.judging import Judged, discard, score_batch
from api.scoring.models import CustomScorer, LayoutScore
from api.scoring.spec import LayoutSpec, ScoreBatchSpec, ScoreSpec
from api.scoring.taste.scorers import PREFIX
from api.specs import as_json

NAMES_SECONDS = 1.0


class LayoutScoring(JobKind[LayoutSpec]):
    name = LayoutSpec.kind
    title = _("Judge a layout")
    spec_class = LayoutSpec  # its two forms: `read_spec`
    max_batch = 32
    next_look = 0.0
    page_scorers: list[str]

    def read_spec(self, job: Job) -> LayoutSpec:
        spec_class: type[LayoutSpec] = ScoreBatchSpec if "items" in job.params else ScoreSpec
        return spec_class.from_row(job.params, kind=job.kind, model_id=job.model_id, prompt=job.prompt)

    def without_models(self) -> tuple[str, list[str]]:
        """Those that measure pages: the heuristics, and the scorers that were trained without an encoder.

        Asked at each claim; the scorers' names are read once in NAMES_SECONDS.
        """
        now = time.monotonic()
        if now >= self.next_look:
            trained = CustomScorer.objects.filter(encoder="").only("name", "version")
            self.page_scorers = ["heuristic", *(f"{PREFIX}{scorer}" for scorer in trained)]
            self.next_look = now + NAMES_SECONDS
        return "backend", self.page_scorers

    def look_again(self, **_: object) -> None:
        """A scorer was trained here: its jobs may follow at once."""
        self.next_look = 0.0

    def expected_sizes(self, spec: LayoutSpec) -> Sequence[tuple[int, int]]:
        """Of the overlays that some scorers draw."""
        return sizes_of_inputs(item.image for item in spec.layouts)

    def find_warnings(self, spec: LayoutSpec) -> Iterator[str]:
        for place, item in enumerate(spec.layouts):
            if item.deep and not item.image:
                about = "" if len(spec.layouts) == 1 else f"Item {place + 1}: "
                yield f"{about}deep has no effect without an image."

    def run(self, batch: Sequence[RunningJob[LayoutSpec]]) -> Iterable[Outcome]:
        return score_batch(batch)

    def record(self, job: Job, output: Sequence[Judged]) -> JsonObject:
        spec = self.read_spec(job)
        scores = [describe(record_score(job, spec, index, judged)) for index, judged in enumerate(output)]
        return {"scores": scores} if isinstance(spec, ScoreBatchSpec) else scores[0]

    def discard(self, output: Sequence[Judged]) -> None:
        discard(output)

    def link_inputs(self, spec: LayoutSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        if "scores" in job.result:
            return {**job.result, "scores": [render_score(score) for score in job.result["scores"]]}
        return render_score(job.result)


# ---------------------------------------------------------------- record and render


def record_score(job: Job, spec: LayoutSpec, index: int, judged: Judged) -> LayoutScore:
    item, verdict = judged.item, judged.verdict
    return LayoutScore.objects.create(
        job=job,
        index=index,
        owner_key=job.owner_key,
        image=StoredFile.objects.filter(pk=item.image).first() if item.image else None,
        overlay=create_output(job, judged.overlay) if judged.overlay else None,
        **verdict.scores,
        measures=verdict.measures_json(),
        reasoning=list(verdict.reasoning),
        scored=list(verdict.scored),
        title=item.event_data.title or "",
        variant=as_json(item.variant),
        event_data=as_json(item.event_data),
        elements=as_json(item.elements),
        backend=spec.backend,
        model=verdict.model,
        device=verdict.device,
        duration=round(judged.duration, 4),
    )


def describe(score: LayoutScore) -> JsonObject:
    names = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score", "reasoning", "measures", "scored")
    return {
        "id": str(score.pk),
        **{name: getattr(score, name) for name in (*names, "backend", "model", "device", "duration")},
        "image": str(score.image_id) if score.image_id else None,
        "overlay": str(score.overlay_id) if score.overlay_id else None,
    }


def render_score(score: JsonObject) -> JsonObject:
    path = f"/api/images/{score['overlay']}/"
    urls = {"overlay_url": f"{path}file/", "overlay_thumbnail_url": f"{path}thumbnail/"}
    return {**score, **(urls if score["overlay"] else dict.fromkeys(urls))}
