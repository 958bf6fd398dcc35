"""What a job that judges layouts is. How it is run: judging.py."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from api.files import storage
from api.files.models import StoredFile
from api.files.services import attach_inputs, create_file
from api.jobs.kinds import JobKind, batch_key_of
from api.jobs.models import Job
from api.jobs.running import Outcome, RunningJob
from api.scoring.judging import Judged, discard, items_of, score_batch, scorer_of
from api.scoring.models import CustomScorer, LayoutScore
from api.scoring.taste.scorers import PREFIX

NAMES_SECONDS = 1.0


class LayoutScoring(JobKind):
    name = "layout_score"
    max_batch = 32
    next_look = 0.0
    page_scorers: list[str]

    def batch_key(self, params: dict[str, Any], model_id: str) -> str:
        """One claim for several single requests; a batch request fills one by itself."""
        return "" if "items" in params else batch_key_of(self.name, scorer_of(params))

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

    def look_again(self, **_: Any) -> None:
        """A scorer was trained here: its jobs may follow at once."""
        self.next_look = 0.0

    def find_warnings(self, params: dict[str, Any], model_id: str) -> Iterator[str]:
        items = items_of(params)
        for place, item in enumerate(items):
            if item["deep"] and not item["image"]:
                about = "" if len(items) == 1 else f"Item {place + 1}: "
                yield f"{about}deep has no effect without an image."

    def run(self, batch: Sequence[RunningJob]) -> Iterable[Outcome]:
        return score_batch(batch)

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        scores = [describe(record_score(job, index, judged)) for index, judged in enumerate(output)]
        return {"scores": scores} if "items" in job.params else scores[0]

    def discard(self, output: Any) -> None:
        discard(output)

    def link_inputs(self, params: dict[str, Any]) -> Any:
        ids = [item["image"] for item in items_of(params) if item["image"]]
        return (lambda job: attach_inputs(job, StoredFile.objects.filter(pk__in=ids))) if ids else None

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
        if not job.result:
            return job.result
        if "scores" in job.result:
            return {**job.result, "scores": [render_score(score) for score in job.result["scores"]]}
        return render_score(job.result)


# ---------------------------------------------------------------- record and render


def record_score(job: Job, index: int, judged: Judged) -> LayoutScore:
    item, verdict = judged.item, judged.verdict
    return LayoutScore.objects.create(
        job=job,
        index=index,
        owner_key=job.owner_key,
        image=StoredFile.objects.filter(pk=item["image"]).first() if item["image"] else None,
        overlay=create_file(judged.overlay, owner_key=job.owner_key, purpose=storage.OUTPUT) if judged.overlay else None,
        **verdict.scores,
        measures=verdict.measures_json(),
        reasoning=list(verdict.reasoning),
        scored=list(verdict.scored),
        title=item["event_data"].get("title", ""),
        variant=item["variant"],
        event_data=item["event_data"],
        elements=item["elements"],
        backend=job.params["backend"],
        model=verdict.model,
        device=verdict.device,
        duration=round(judged.duration, 4),
    )


def describe(score: LayoutScore) -> dict[str, Any]:
    names = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score", "reasoning", "measures", "scored")
    return {
        "id": str(score.pk),
        **{name: getattr(score, name) for name in (*names, "backend", "model", "device", "duration")},
        "image": str(score.image_id) if score.image_id else None,
        "overlay": str(score.overlay_id) if score.overlay_id else None,
    }


def render_score(score: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/images/{score['overlay']}/"
    urls = {"overlay_url": f"{path}file/", "overlay_thumbnail_url": f"{path}thumbnail/"}
    return {**score, **(urls if score["overlay"] else dict.fromkeys(urls))}
