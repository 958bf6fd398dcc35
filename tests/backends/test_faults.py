"""A fault at any place of a picture's way costs the job that it strikes, and no other: eight mixed requests share their passes, and each
run strikes most of them, each at another place.
"""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.db import OperationalError

from api.errors import DarkroomError, DeviceFault
from api.images.session import ImageSession
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from tests.backends.conftest import MakeLoader
from tests.backends.faults import (
    CHOSEN,
    EDITED,
    ELSEWHERE,
    ENLARGED,
    PATIENT,
    PLAIN,
    REPAINTED,
    SEVERAL,
    SMALL,
    Found,
    Scene,
    Strike,
    leftovers,
    raising,
    spoiling,
    submit,
    watching_memory,
)
from tests.jobs.conftest import now_as

pytestmark = [pytest.mark.django_db, pytest.mark.models]
ENGINE, SESSION, PICTURES = "api.images.backends.engine.engine:", "api.images.session:", "api.images.pictures:"
STEP = "api.images.backends.engine.passes:advance_by_scheduler"
PREVIEW = "api.images.backends.engine.progress:make_preview"
SCORE = "api.images.output_sinks:BestOfN._drop_eliminated"
RECORD = "api.images.handler:record_picture"
WRITE = "api.images.pictures:save_picture"


@pytest.fixture
def loader(make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> ModelLoader:
    settings.USE_LOCAL_MODELS, settings.PROMPT_SCORES, settings.MEDIA_ROOT = True, False, tmp_path
    loader = make_loader(torch.float32)
    monkeypatch.setattr("api.model_loader.get_loader", lambda: loader)
    monkeypatch.setattr("api.images.handler.get_catalog", lambda: loader.catalog)
    monkeypatch.setattr("api.images.session.ImageSession", make_session)
    monkeypatch.setattr("api.images.session.JobHooks.wants_preview", lambda hooks: True)
    monkeypatch.setattr("api.images.backends.engine.progress.INTERVAL", 0.0)
    monkeypatch.setattr("api.images.pictures.independent_criteria", lambda criteria: [])
    monkeypatch.setattr("api.jobs.worker.endings.FINISH_RETRIES", (0.0, 0.0))
    return loader


def make_session(engine: Any, **options: Any) -> ImageSession:
    engine.most_rows = engine._largest_pass = 10
    return ImageSession(engine, saves_beside=True)


@pytest.fixture
def scene(loader: ModelLoader) -> Scene:
    return Scene()


_usual: list[Found] = []


@pytest.fixture
def usual(scene: Scene) -> Found:
    """What becomes of the requests without a fault; the same in each test."""
    if not _usual:
        _usual.append(scene.run())
        assert set(_usual[0].errors.values()) == {"succeeded"}
    return _usual[0]


Check = Callable[..., None]


@pytest.fixture
def check(scene: Scene, usual: Found, loader: ModelLoader) -> Check:
    """All strikes in one run, and what has to hold after it."""

    def checked(*strikes: Strike, leaves: str = "nothing") -> None:
        with pytest.MonkeyPatch.context() as patch, watching_memory() as kept:
            for strike in strikes:
                strike.put_into(patch)
            found = scene.run()
            still_there = kept()
        assert [strike.target for strike in strikes if not strike.has_struck] == []
        assert found.differences(usual, {strike.seed: strike.ends or "succeeded" for strike in strikes}) == []
        assert [left for left in leftovers(scene.loop, loader) if not left.startswith(leaves)] == []
        assert still_there == []

    return checked


def test_an_error_that_nobody_foresaw(check: Check) -> None:
    broken = raising(ZeroDivisionError)
    check(
        Strike(SESSION + "open_request", PLAIN, broken),
        Strike(STEP, PATIENT, broken, first=3),
        Strike(ENGINE + "make_row", EDITED, broken),
        Strike(ENGINE + "finish_row", REPAINTED, broken),
        Strike(ENGINE + "make_second_row", ENLARGED, broken),
        Strike(SESSION + "file_notes", SEVERAL, broken),
        Strike(SCORE, CHOSEN, broken, any_call=True),
    )
    check(
        Strike(WRITE, PLAIN, broken),
        Strike(ENGINE + "run_pass", PATIENT, broken, first=2),
        Strike(ENGINE + "find_embeddings", EDITED, broken),
        Strike(RECORD, REPAINTED, broken),
        Strike(SESSION + "finish_kept", ENLARGED, broken),
        Strike(ENGINE + "decode_batch", SEVERAL, broken),
        Strike(SESSION + "open_sink", CHOSEN, broken),
        Strike(PREVIEW, SMALL, broken, ends=""),
    )


def test_memory_that_runs_out_once_costs_nothing(check: Check) -> None:
    short = raising(torch.OutOfMemoryError, "CUDA out of memory")
    check(
        Strike(ENGINE + "run_pass", PATIENT, short, ends="", first=3, times=1),
        Strike(ENGINE + "make_row", EDITED, short, ends="", times=1, after=True),
        Strike(ENGINE + "decode_batch", REPAINTED, short, ends="", times=1, any_call=True, after=True),
        Strike(ENGINE + "make_second_row", ENLARGED, short, ends="", times=1, after=True),
        Strike(PREVIEW, SEVERAL, short, ends="", times=1),
        Strike("api.images.judges:GuardedJudge.score", CHOSEN, raising(MemoryError), "overloaded", times=1, any_call=True),
    )


def test_memory_that_stays_short_costs_those_that_need_it(check: Check) -> None:
    short = raising(torch.OutOfMemoryError, "CUDA out of memory")
    check(
        Strike(WRITE, PLAIN, raising(MemoryError), "overloaded"),
        Strike(ENGINE + "run_pass", PATIENT, short, "out_of_memory", first=3),
        Strike(ENGINE + "make_row", EDITED, short, "out_of_memory"),
        Strike(STEP, REPAINTED, short, "out_of_memory", first=2, times=1),
        Strike(ENGINE + "make_second_row", ENLARGED, short, "out_of_memory"),
        Strike(ENGINE + "decode_batch", SEVERAL, short, "out_of_memory"),
        Strike(ENGINE + "finish_row", CHOSEN, short, "out_of_memory", first=2),
    )


def test_values_that_are_no_numbers(check: Check) -> None:
    passes = {PLAIN: 1, PATIENT: 6, EDITED: 2, REPAINTED: 2, ENLARGED: 2, SEVERAL: 3, CHOSEN: 2}
    check(*[Strike(ENGINE + "run_pass", seed, spoiling(seed), "not_finite", first=first) for seed, first in passes.items()])


def test_a_disk_that_is_full(check: Check) -> None:
    full = raising(OSError, errno.ENOSPC, "No space left on device")
    check(
        Strike(WRITE, PLAIN, full, "disk_full"),
        Strike(WRITE, SEVERAL, full, "disk_full", first=3),
        Strike(SESSION + "open_request", EDITED, full, "disk_full"),
        Strike(RECORD, PATIENT, full, "disk_full"),
    )


EARLY = [
    (SESSION + "open_request", PLAIN, 1),
    (ENGINE + "run_pass", PATIENT, 4),
    (ENGINE + "make_row", EDITED, 1),
    (STEP, REPAINTED, 2),
    (ENGINE + "make_second_row", ENLARGED, 1),
    (ENGINE + "finish_row", SEVERAL, 2),
    (SCORE, CHOSEN, 1),
    (PREVIEW, SMALL, 2),
]
LATE = [
    (WRITE, PLAIN, 1),
    (SESSION + "finish_kept", PATIENT, 1),
    ("api.jobs.worker.endings:finish", EDITED, 1),
    (SESSION + "file_notes", REPAINTED, 1),
    (WRITE, SEVERAL, 2),
    ("api.images.output_sinks:BestOfN.choose", CHOSEN, 1),
]
"""Places, with the call there that is struck: while pictures are made, and behind that."""


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_cancelled(check: Check, scene: Scene) -> None:
    for places, ends in [(EARLY, "cancelled"), (LATE, "")]:
        check(
            *[
                Strike(target, seed, scene.cancel(seed), ends, first=first, times=1, any_call=seed == CHOSEN)
                for target, seed, first in places
            ]
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_job_that_another_worker_has_taken(check: Check, scene: Scene, is_noticed: bool) -> None:
    for places in (EARLY, LATE):
        check(
            *[
                Strike(
                    target,
                    seed,
                    scene.take_over(seed, is_noticed=is_noticed),
                    ELSEWHERE,
                    first=first,
                    times=1,
                    any_call=seed == CHOSEN,
                )
                for target, seed, first in places
            ]
        )


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer(check: Check) -> None:
    """For a moment it costs nothing; a row that stays out of reach keeps its lease to the end, and the others go on."""
    away = raising(OperationalError, "server closed the connection unexpectedly")
    check(
        Strike("api.jobs.lifecycle:finish_job", PLAIN, away, ends="", times=2),
        Strike("api.jobs.lifecycle:finish_job", PATIENT, away, ends="running"),
        Strike(ENGINE + "make_row", EDITED, raising(ZeroDivisionError)),
        Strike("api.jobs.lifecycle:fail_job", EDITED, away, times=2),
        Strike("api.jobs.lifecycle:claim_joining", SMALL, away, ends="", times=2, any_call=True),
        leaves="leases: ",
    )


def test_what_is_written_beside_the_passes_is_neither_lost_with_them_nor_waited_for(
    loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first picture is still being written when the second one's end is told, and when the third one's model is gone."""
    fields = {"model_id": "sd1", "width": 64, "height": 64, "guidance_scale": 1.0}
    jobs = [submit(seed, steps=steps, **fields) for seed, steps in ((1, 1), (2, 3), (3, 30))]
    may_end = threading.Event()

    def lose(engine: object) -> None:
        if now_as(jobs[1]).status == "succeeded":
            may_end.set()
            raise DarkroomError("broken_model", 422, "It is gone.")

    Strike(WRITE, 1, lambda *_: wait_for(may_end)).put_into(monkeypatch)
    Strike(ENGINE + "Engine.step", 3, lose, any_call=True).put_into(monkeypatch)
    loop = WorkerLoop()
    while loop.run_once():
        pass
    assert [now_as(job).status for job in jobs] == ["succeeded", "succeeded", "failed"]
    assert leftovers(loop, loader) == []


def wait_for(event: threading.Event) -> None:
    if not event.wait(10):
        raise TimeoutError


@pytest.mark.parametrize("target", [ENGINE + "run_pass", PREVIEW, SCORE, WRITE])
def test_a_device_that_fails_ends_the_worker_and_no_job(scene: Scene, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Whichever thread meets it: another worker takes the jobs."""
    monkeypatch.setattr("os._exit", sys.exit)
    Strike(target, PLAIN, raising(DeviceFault), any_call=True, first=2).put_into(monkeypatch)
    with pytest.raises(SystemExit):
        scene.run()
    for key in list(scene.loop.sessions):
        scene.loop.close_session(key)
    assert {now_as(job).status for job in scene.jobs.values()} <= {"queued", "running", "succeeded"}
