"""What a job that judges layouts is. numpy and OpenCV are imported inside `run`."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from api.files import storage
from api.files.errors import DiskFull, MissingFile
from api.files.models import StoredFile
from api.files.services import attach_inputs, create_file, open_image
from api.jobs.errors import JobError
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.runs import JobRun
from api.scoring.models import LayoutScore
from api.scoring.scorers import UnknownScorer, get_scorer

if TYPE_CHECKING:
    from api.scoring.backends.layout import Layout, Scorer, Verdict


@dataclass(frozen=True)
class Judged:
    """One item's verdict, with its overlay on disk, before there are rows. Times in seconds."""

    item: dict[str, Any]
    verdict: "Verdict"
    overlay: storage.WrittenFile | None
    duration: float
    saving: float = 0.0


class LayoutScoring(JobKind):
    name = "layout_score"
    max_batch = 32

    def batch_key(self, params: dict[str, Any]) -> str:
        """One claim for several single requests; a batch request fills one by itself."""
        return "" if "items" in params else f"{self.name}:{params['backend']}"

    def ensure_room(self) -> None:
        storage.ensure_free_space()

    def run(self, runs: Sequence[JobRun]) -> None:
        for run in runs:
            if run.cancelled:
                run.stop()
                continue
            try:
                judged = judge_run(run)
            except JobError as error:
                run.fail(error)
            else:
                run.finish(judged)

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        scores = [describe(record_score(job, index, judged)) for index, judged in enumerate(output)]
        return {"scores": scores} if "items" in job.params else scores[0]

    def discard(self, output: Any) -> None:
        for judged in output:
            if judged.overlay:
                storage.remove_written(judged.overlay)

    def link_inputs(self, params: dict[str, Any]) -> Any:
        ids = [item["image"] for item in items_of(params) if item["image"]]
        return (lambda job: attach_inputs(job, StoredFile.objects.filter(pk__in=ids))) if ids else None

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
        if not job.result:
            return job.result
        if "scores" in job.result:
            return {**job.result, "scores": [render_score(score) for score in job.result["scores"]]}
        return render_score(job.result)


def items_of(params: dict[str, Any]) -> list[dict[str, Any]]:
    return params.get("items") or [params]


# ---------------------------------------------------------------- run


def judge_run(run: JobRun) -> list[Judged]:
    """In the request's order. Raises JobError and JobCancelled, and leaves no file behind then.

    Overlays are drawn and written by a thread of their own, while the next picture is looked at: a write waits for the disk.
    """
    items = items_of(run.params)
    found: dict[int, Future[Judged]] = {}
    with ThreadPoolExecutor(1, "overlay") as writer:
        try:
            scorer = get_scorer(run.params["backend"])
            for places in by_picture(items):
                run.raise_if_cancelled()
                wait(found.values())  # one picture is drawn while one is measured, no more: each takes some megabytes
                for judged, place in zip(judge_picture(run, scorer, [items[place] for place in places]), places, strict=True):
                    found[place] = writer.submit(keep_overlay, judged)
                    warn(run, judged.verdict, "" if len(items) == 1 else f"Item {place + 1}: ")
                run.progress(step=len(found), steps=len(items))
            kept = [found[place].result() for place in range(len(items))]
        except BaseException as error:
            wait(found.values())
            LayoutScoring().discard([future.result() for future in found.values() if not future.exception()])
            if isinstance(error, UnknownScorer):
                raise JobError("unknown_backend", 400, str(error)) from error
            raise
    run.add_time("save", sum(judged.saving for judged in kept))
    return kept


def by_picture(items: Sequence[dict[str, Any]]) -> Iterator[list[int]]:
    """The places of items that share a picture, together: it is decoded and measured once, one picture held at a time."""
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item["image"] or f"none {place}", []).append(place)
    yield from groups.values()


def judge_picture(run: JobRun, scorer: "Scorer", items: Sequence[dict[str, Any]]) -> list[Judged]:
    """Of items that share a picture: `duration` is each one's share of what was done for all."""
    started = time.monotonic()
    with run.measure("decode"):
        picture = open_picture(items[0]["image"])
    with run.measure("score"):
        verdicts = scorer.score(picture, [make_layout(item) for item in items])
    share = (time.monotonic() - started) / len(items)
    return [Judged(item, verdict, None, share) for item, verdict in zip(items, verdicts, strict=True)]


def warn(run: JobRun, verdict: "Verdict", about: str) -> None:
    for warning in verdict.warnings:
        run.warn(about + warning)


def open_picture(identifier: str | None) -> Image.Image | None:
    if identifier is None:
        return None
    file = StoredFile.objects.filter(pk=identifier).first()
    if file is None:
        raise MissingFile
    return open_image(file)


def make_layout(item: dict[str, Any]) -> "Layout":
    from api.scoring.backends.layout import Element, Layout

    return Layout(
        variant=item["variant"],
        title=item["event_data"].get("title", ""),
        description=item["event_data"].get("description", ""),
        elements=tuple(Element(**element) for element in item["elements"]),
        deep=item["deep"],
    )


def keep_overlay(judged: Judged) -> Judged:
    """With its overlay on disk, and without the page that it was drawn from. Touches no database. Raises JobError."""
    from api.scoring.backends.overlay import draw_overlay, encode_overlay

    if judged.verdict.seen is None:
        return judged
    started = time.monotonic()
    overlay = draw_overlay(judged.verdict)
    try:
        written = storage.write_image_files(encode_overlay(overlay), overlay, "jpg")
    except DiskFull:
        raise JobError("disk_full", 507, "The disk is full; the overlay could not be kept.") from None
    saving = time.monotonic() - started
    verdict = replace(judged.verdict, seen=None)
    return replace(judged, verdict=verdict, overlay=written, saving=saving, duration=judged.duration + saving)


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
