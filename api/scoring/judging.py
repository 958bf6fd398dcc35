"""How layouts are judged in a worker. numpy, OpenCV and torch are imported inside functions.

A backend that measures pages gets one run after the other. One that is a network gets the pictures of all runs in one pass.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.runtime.input_pictures import open_input
from api.runtime.model_use import measured, raise_if_unwanted, report_to
from api.safety.credentials.provenance import Provenance, provenance_of_overlay
from api.safety.output import write_picture
from api.safety.pictures.checking import may_come_back
from api.scoring.scorers import UnknownScorer, find_backend, get_scorer
from api.scoring.spec import LayoutSpec, ScoreItem
from api.specs import as_json

if TYPE_CHECKING:
    from api.scoring.backends.layout import Layout, NetworkScorer, PageScorer, Verdict


Run = RunningJob[LayoutSpec]
OVERLAY = "overlay"
"""What it is called in sentences."""
MOST_AT_ONCE = 32


@dataclass(frozen=True)
class Judged:
    """One item's verdict, with its overlay on disk, before there are rows. Times in seconds."""

    item: ScoreItem
    verdict: "Verdict"
    overlay: storage.WrittenFile | None
    duration: float
    saving: float = 0.0
    provenance: Provenance | None = None
    """Of the overlay."""


def score_batch(batch: Sequence[Run]) -> Iterator[Outcome]:
    """Of one backend and model. Raises DarkroomError, DeviceFault for what ends them all."""
    from api.scoring.backends.layout import NetworkScorer

    scorer = make_scorer(batch[0].spec)
    if isinstance(scorer, NetworkScorer):
        yield from score_together(batch, scorer)
        return
    for run in batch:
        yield Stopped(run) if run.cancelled else score_alone(run, scorer)


def score_alone(run: Run, scorer: "PageScorer") -> Outcome:
    try:
        return Finished(run, judge_run(run, scorer))
    except DarkroomError as error:
        return Failed(run, error)


def make_scorer(spec: LayoutSpec) -> "PageScorer | NetworkScorer":
    """Raises DarkroomError."""
    try:
        if "loader" not in find_backend(spec.backend).needs:
            return get_scorer(spec.backend)
        from api.model_loader import get_loader

        return get_scorer(spec.backend, loader=get_loader(), model_id=spec.model_id or "")
    except UnknownScorer as error:
        raise DarkroomError("unknown_backend", 400, str(error)) from error


def discard(output: Sequence[Judged]) -> None:
    for judged in output:
        if judged.overlay:
            storage.remove_written(judged.overlay)


# ---------------------------------------------------------------- one page after the other


def judge_run(run: Run, scorer: "PageScorer") -> list[Judged]:
    """In the request's order. Raises DarkroomError and JobCancelled, and leaves no file behind then.

    Overlays are drawn and written by a thread of their own, while the next picture is looked at: a write waits for the disk.
    """
    items = run.spec.layouts
    found: dict[int, Future[Judged]] = {}
    with ThreadPoolExecutor(1, "overlay") as writer:
        try:
            for places in by_picture(items):
                run.raise_if_cancelled()
                judgements = judge_picture(run, scorer, [items[place] for place in places])
                wait(found.values())  # one picture is drawn while one is measured, no more: each takes some megabytes
                for judged, place in zip(judgements, places, strict=True):
                    found[place] = writer.submit(keep_overlay, judged)
                    warn(run, judged.verdict, place, items)
                run.progress(step=len(found), steps=len(items))
            kept = [found[place].result() for place in range(len(items))]
        except BaseException:
            wait(found.values())
            discard([future.result() for future in found.values() if not future.exception()])
            raise
    run.add_time("save", sum(judged.saving for judged in kept))
    return kept


def by_picture(items: Sequence[ScoreItem]) -> Iterator[list[int]]:
    """The places of items that share a picture, together: it is decoded and measured once, one picture held at a time."""
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.image or f"none {place}", []).append(place)
    yield from groups.values()


def judge_picture(run: Run, scorer: "PageScorer", items: Sequence[ScoreItem]) -> list[Judged]:
    """Of items that share a picture: `duration` is each one's share of what was done for all."""
    started = time.monotonic()
    with run.measure("decode"):
        picture = open_picture(items[0].image)
    with run.measure("score"):
        verdicts = scorer.score(picture, [make_layout(item) for item in items])
    share = (time.monotonic() - started) / len(items)
    if (
        picture is not None
        and any(verdict.seen is not None for verdict in verdicts)
        and not may_come_back(run, picture, OVERLAY)
    ):
        verdicts = [replace(verdict, seen=None) for verdict in verdicts]
    provenance = provenance_of_overlay(run.spec, items[0].image)
    return [Judged(item, verdict, None, share, provenance=provenance) for item, verdict in zip(items, verdicts, strict=True)]


def warn(run: Run, verdict: "Verdict", place: int, items: Sequence[ScoreItem]) -> None:
    about = "" if len(items) == 1 else f"Item {place + 1}: "
    for warning in verdict.warnings:
        run.warn(about + warning)


def open_picture(identifier: str | None) -> Image.Image | None:
    return open_input(identifier) if identifier else None


def make_layout(item: ScoreItem) -> "Layout":
    from api.scoring.backends.layout import Element, Layout

    return Layout(
        variant=item.variant.given(),
        title=item.event_data.title or "",
        description=item.event_data.description or "",
        elements=tuple(Element(**vars(box)) for box in item.elements),
        deep=item.deep,
    )


def keep_overlay(judged: Judged) -> Judged:
    """With its overlay on disk, and without the page that it was drawn from. Touches no database. Raises DarkroomError."""
    from api.scoring.backends.overlay import draw_overlay, encode_overlay

    if judged.verdict.seen is None:
        return judged
    started = time.monotonic()
    overlay = draw_overlay(judged.verdict)
    try:
        written = write_picture(encode_overlay(overlay), overlay, "jpeg", judged.provenance)
    except DiskFull:
        raise DarkroomError("disk_full", 507, "The disk is full; the overlay could not be kept.") from None
    saving = time.monotonic() - started
    verdict = replace(judged.verdict, seen=None)
    return replace(judged, verdict=verdict, overlay=written, saving=saving, duration=judged.duration + saving)


# ---------------------------------------------------------------- all pictures in one pass


@dataclass(frozen=True)
class PreparedPicture:
    """What the network sees of one picture, and whose it is: the run's items in these places."""

    run: Run
    places: list[int]
    prepared: Any


def score_together(batch: Sequence[Run], scorer: "NetworkScorer") -> Iterator[Outcome]:
    """The pictures of all jobs in one pass of the network. A job whose picture can't be had fails alone."""
    with measured(batch, "load"):
        scorer.load(report_to(batch))
    started = time.monotonic()
    opened = [(run, open_pictures(run, scorer)) for run in batch]
    yield from (found for _, found in opened if not isinstance(found, list))
    yield from (Stopped(run) for run, found in opened if isinstance(found, list) and run.cancelled)
    kept = [one for run, found in opened if isinstance(found, list) and not run.cancelled for one in found]
    if not kept:
        return
    going = list({one.run.id: one.run for one in kept}.values())
    layouts = [[make_layout(one.run.spec.layouts[place]) for place in one.places] for one in kept]
    with measured(going, "score"):
        verdicts = score_in_passes(going, scorer, [one.prepared for one in kept], layouts)
    share = (time.monotonic() - started) / sum(len(one.places) for one in kept)
    for run in going:
        warn_of_unread(run, scorer)
        mine = [(one, found) for one, found in zip(kept, verdicts, strict=True) if one.run is run]
        yield Finished(run, judgements_of(run, mine, share))


def score_in_passes(
    runs: Sequence[Run], scorer: "NetworkScorer", prepared: Sequence[object], layouts: Sequence[list["Layout"]]
) -> list["list[Verdict]"]:
    """Stops between two passes when nobody wants the result any more."""
    verdicts: list[list[Verdict]] = []
    for start in range(0, len(prepared), MOST_AT_ONCE):
        raise_if_unwanted(runs)
        part = slice(start, start + MOST_AT_ONCE)
        verdicts += scorer.score_prepared(prepared[part], layouts[part])
    return verdicts


def warn_of_unread(run: Run, scorer: "NetworkScorer") -> None:
    """What was sent and did not count is never silent."""
    names = [name for name in ("variant", "event_data", "elements", "deep") if name not in scorer.reads]
    unread = [name for name in names if any(is_given(as_json(getattr(item, name))) for item in run.spec.layouts)]
    if unread:
        run.warn(f"The backend '{run.spec.backend}' looks at the picture: {', '.join(unread)} did not count.")


def is_given(value: object) -> bool:
    return any(value.values()) if isinstance(value, dict) else bool(value)


def open_pictures(run: Run, scorer: "NetworkScorer") -> "list[PreparedPicture] | Outcome":
    """What the network sees of the job's pictures, or the job's end."""
    items = run.spec.layouts
    prepared: list[PreparedPicture] = []
    try:
        with run.measure("decode"):
            for places in by_picture(items):
                if run.cancelled:
                    return Stopped(run)
                picture = open_picture(items[places[0]].image)
                if picture is None:
                    raise DarkroomError("image_required", 400, f"The backend '{run.spec.backend}' judges pictures alone.")
                prepared.append(PreparedPicture(run, places, scorer.prepare(picture)))
                run.progress(step=len(prepared), steps=len(items) + 1)
    except DarkroomError as error:
        return Failed(run, error)
    return prepared


def judgements_of(run: Run, found: Sequence[tuple[PreparedPicture, "Sequence[Verdict]"]], share: float) -> list[Judged]:
    """In the order of the job's items."""
    items = run.spec.layouts
    judged: dict[int, Judged] = {}
    for one, verdicts in found:
        for place, verdict in zip(one.places, verdicts, strict=True):
            judged[place] = Judged(items[place], verdict, None, share)
    for place in sorted(judged):
        warn(run, judged[place].verdict, place, items)
    return [judged[place] for place in range(len(items))]
