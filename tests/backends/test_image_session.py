"""Jobs for pictures in one session: nothing is lost, doubled or mixed up when they join, leave, fail and are cancelled."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from django.db import OperationalError
from PIL import Image

from api.images.backends.engine import engine as engine_module
from api.images.models import GeneratedImage
from api.images.session import ImageSession
from api.images.spec import Txt2ImgSpec
from api.jobs import lifecycle
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from api.jobs.running import Finished
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader, OutOfMemory
from tests.backends.conftest import MakeLoader

pytestmark = [pytest.mark.django_db, pytest.mark.models]
SCHEDULERS = [None, "euler", "euler_a", "heun", "dpmpp_2m", "lms", "unipc", "ddim"]


@pytest.fixture
def loader(make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> ModelLoader:
    settings.USE_LOCAL_MODELS, settings.PROMPT_SCORES, settings.MEDIA_ROOT = True, False, tmp_path
    loader = make_loader(torch.float32)
    monkeypatch.setattr("api.model_loader.get_loader", lambda: loader)
    monkeypatch.setattr("api.images.handler.get_catalog", lambda: loader.catalog)
    return loader


@pytest.fixture(params=["pictures are written between passes", "pictures are written beside them"])
def loop(request: pytest.FixtureRequest, loader: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerLoop]:
    beside = "beside" in request.param
    monkeypatch.setattr("api.images.session.ImageSession", lambda engine, **_: ImageSession(engine, saves_beside=beside))
    monkeypatch.setattr("api.images.session.MOST_SAVING", 2)
    loop = WorkerLoop()
    yield loop
    for key in list(loop.sessions):  # of a test that failed: the loader is shared with the next
        loop.close_session(key)


def submit(number: int = 0, **fields: Any) -> Job:
    defaults = {"model_id": "sd1", "width": 64, "height": 64, "steps": 3, "guidance_scale": 5.0, "seed": number}
    spec = Txt2ImgSpec(prompt=f"colour {number}", **{**defaults, **fields})
    return lifecycle.submit_job(spec=spec, owner_key=f"owner {number}")


def submit_mixed(count: int = 8) -> list[Job]:
    """Different steps, schedulers, sizes and guidance."""
    return [
        submit(
            number, steps=2 + number % 4, scheduler=SCHEDULERS[number], width=(64, 32)[number % 2], guidance_scale=number % 3
        )
        for number in range(count)
    ]


def run(loop: WorkerLoop) -> None:
    while loop.run_once():
        pass


def statuses(jobs: list[Job]) -> list[str]:
    for job in jobs:
        job.refresh_from_db()
    return [job.status for job in jobs]


def paint_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is decoded to a flat colour that its own generator and latents decide."""
    marks: dict[int, int] = {}
    make_row = engine_module.make_row

    def marked(lease: Any, task: Any, number: int, **options: Any) -> Any:
        row = make_row(lease, task, number, **options)
        marks[id(row.step_arguments)] = task.request.spec.seeds[number]
        row.latents = torch.full_like(row.latents, float(task.request.spec.seeds[number]))
        return row

    def advance(unet: Any, rows: Any, *rest: Any) -> None:
        for row in rows:
            row.position += 1

    def decode(pipeline: Any, latents: torch.Tensor) -> list[Image.Image]:
        height, width = (8 * side for side in latents.shape[-2:])
        assert all(row.min() == row.max() for row in latents)
        return [Image.new("RGB", (width, height), (int(row.max()), 0, 0)) for row in latents]

    monkeypatch.setattr(engine_module, "make_row", marked)
    monkeypatch.setattr(engine_module, "run_pass", advance)
    monkeypatch.setattr(engine_module, "decode_batch", decode)


def colours(job: Job) -> list[int]:
    from api.files.services import open_image

    images = GeneratedImage.objects.filter(job=job).order_by("index")
    return [int(np.asarray(open_image(image.file))[0, 0, 0]) for image in images]


def test_each_answer_has_its_own_picture_whatever_runs_beside_it(loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    paint_by_seed(monkeypatch)
    jobs = [*submit_mixed(), submit(40, num_images=3), submit(60, num_images=5, steps=7)]
    run(loop)
    assert statuses(jobs) == ["succeeded"] * 10
    assert [colours(job) for job in jobs] == [[n] for n in range(8)] + [[40, 41, 42], [60, 61, 62, 63, 64]]


@pytest.mark.parametrize("at", range(1, 12))
def test_a_cancelled_job_leaves_and_the_others_end_with_their_own(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    paint_by_seed(monkeypatch)
    jobs = submit_mixed()
    at_call(monkeypatch, at, lambda: lifecycle.cancel_job(job=Job.objects.get(pk=jobs[3].pk)))
    cancelled_at_once(loop)
    run(loop)
    assert statuses(jobs[:3] + jobs[4:]) == ["succeeded"] * 7
    assert [colours(job) for job in jobs[:3] + jobs[4:]] == [[0], [1], [2], [4], [5], [6], [7]]
    assert statuses([jobs[3]]) in (["cancelled"], ["succeeded"])  # the last calls come after its end
    assert GeneratedImage.objects.count() == len([job for job in jobs if job.status == "succeeded"])


def at_call(monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], object]) -> None:
    """`act` before the pass of this number."""
    passes, run_pass = [0], engine_module.run_pass

    def counting(unet: Any, rows: Any, *rest: Any) -> None:
        passes[0] += 1
        if passes[0] == at:
            act()
        run_pass(unet, rows, *rest)

    monkeypatch.setattr(engine_module, "run_pass", counting)


def cancelled_at_once(loop: WorkerLoop) -> None:
    """What the lease keeper's thread does every second."""
    hold = loop.hold

    def look() -> None:
        hold()
        for session in loop.sessions.values():
            for one in session.running:
                if Job.objects.filter(pk=one.id, cancel_requested_at__isnull=False).exists():
                    one.cancel_asked.set()

    loop.hold = look  # type: ignore[method-assign]


@pytest.mark.parametrize("at", range(1, 8))
def test_values_that_are_no_numbers_fail_the_row_that_has_them(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    jobs = submit_mixed()
    run_pass, passes = engine_module.run_pass, [0]

    def spoiling(unet: Any, rows: Any, *rest: Any) -> None:
        passes[0] += 1
        for row in rows:
            if row.task.request.spec.seed == 5 and passes[0] >= at:
                row.latents = row.latents * float("nan")
        run_pass(unet, rows, *rest)

    monkeypatch.setattr(engine_module, "run_pass", spoiling)
    run(loop)
    assert statuses(jobs[:5] + jobs[6:]) == ["succeeded"] * 7
    assert (jobs[5].refresh_from_db(), jobs[5].status, jobs[5].error["code"])[1:] == ("failed", "not_finite")


def test_a_prompt_that_can_t_be_encoded_fails_its_own_job(loop: WorkerLoop) -> None:
    jobs = [submit(0), submit(1, clip_skip=12), submit(2)]
    run(loop)
    assert statuses(jobs) == ["succeeded", "failed", "succeeded"]
    assert jobs[1].error["code"] == "clip_skip"


@pytest.mark.parametrize("stage", ["make_row", "decode_batch"])
def test_an_unforeseen_error_ends_those_that_run_and_the_worker_goes_on(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def broken(*_: object, **options: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, stage, broken)
        jobs = [submit(0), submit(1)]
        run(loop)
    assert [(job.refresh_from_db(), job.error["code"])[1] for job in jobs] == ["internal_error"] * 2
    later = submit(2)
    run(loop)
    assert statuses([later]) == ["succeeded"]


def test_memory_that_runs_out_fails_the_job_that_needs_it(loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_pass = engine_module.run_pass

    def shortage(unet: Any, rows: Any, *rest: Any) -> None:
        if any(row.task.request.spec.seed == 1 for row in rows):
            raise torch.OutOfMemoryError("CUDA out of memory")
        run_pass(unet, rows, *rest)

    monkeypatch.setattr(engine_module, "run_pass", shortage)
    jobs = [submit(0), submit(1), submit(2)]
    run(loop)
    assert statuses(jobs) == ["succeeded", "failed", "succeeded"]
    assert jobs[1].error["code"] == OutOfMemory("").code


def test_a_job_that_joins_ends_before_a_longer_one_that_began_earlier(loop: WorkerLoop) -> None:
    long = submit(0, steps=150)
    session = open_session(loop)
    session.step_to(20)
    short = submit(1, steps=3)
    loop.let_join(short.batch_key, session.session)
    while statuses([short]) != ["succeeded"]:  # its file is perhaps written beside the passes
        session.step_to(session.steps + 1)
    assert statuses([long]) == ["running"]
    run(loop)
    assert statuses([long]) == ["succeeded"]


class Stepper:
    def __init__(self, loop: WorkerLoop, session: ImageSession) -> None:
        self.loop, self.session, self.steps = loop, session, 0

    def step_to(self, count: int) -> None:
        from api.jobs.worker.endings import end

        while self.steps < count:
            for outcome in self.session.step():
                end(outcome)
            self.steps += 1


def open_session(loop: WorkerLoop) -> Stepper:
    loop.start(lifecycle.claim_jobs(worker=loop.worker))
    [session] = loop.sessions.values()
    assert isinstance(session, ImageSession)
    return Stepper(loop, session)


def test_one_request_of_many_pictures_leaves_room_to_others(loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = submit(0, num_images=16, steps=2), submit(50, steps=2)
    order: list[int] = []
    finish = engine_module.Task.finish_picture

    def noting(task: Any, number: int, picture: Any) -> None:
        order.append(task.request.spec.seeds[number])
        finish(task, number, picture)

    monkeypatch.setattr(engine_module.Task, "finish_picture", noting)
    run(loop)
    assert statuses([many, few]) == ["succeeded", "succeeded"]
    assert order.index(50) < 6


def test_a_job_joins_beside_one_of_more_pictures_than_fit_and_ends_first(loop: WorkerLoop) -> None:
    many = submit(0, num_images=16, steps=20)
    session = open_session(loop)
    session.step_to(3)
    few = submit(50, steps=2)
    loop.let_join(few.batch_key, session.session)
    while statuses([few]) != ["succeeded"]:
        session.step_to(session.steps + 1)
    assert statuses([many]) == ["running"]
    run(loop)
    assert statuses([many]) == ["succeeded"]


def test_a_job_that_joins_later_is_told_what_of_its_adapter_has_no_effect(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "apply_adapters", lambda pipeline, loras: ["It fits in part."])
    first = submit(0, steps=20)
    session = open_session(loop)
    session.step_to(2)
    later = submit(1, steps=2)
    loop.let_join(later.batch_key, session.session)
    run(loop)
    assert statuses([first, later]) == ["succeeded"] * 2
    assert [job.warnings for job in (first, later)] == [["It fits in part."]] * 2


def test_two_models_that_do_not_fit_together_are_not_loaded_in_turn(
    loop: WorkerLoop, loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = loader._load
    monkeypatch.setattr(loader, "_load", lambda entry, *rest: (loads.append(entry.id), load(entry, *rest))[1])
    monkeypatch.setattr("api.jobs.worker.loop.TURN_SECONDS", 0.01)
    for model in loader.loaded():
        loader.unload(model["id"])
    with loader.use("sd1", "text-to-image"), loader.use("sd2", "text-to-image"):
        sizes = {model["id"]: model["bytes"] for model in loader.loaded()}
    for model in loader.loaded():
        loader.unload(model["id"])
    monkeypatch.setattr(loader, "memory_limit", int(1.5 * max(sizes.values())))
    loads.clear()
    jobs = [submit(0, model_id="sd1", steps=20), submit(1, model_id="sd2", steps=20), submit(2, model_id="sd1", steps=20)]
    run(loop)
    assert statuses(jobs) == ["succeeded"] * 3
    assert loads == ["sd1", "sd2"]


def test_a_handler_that_opens_no_session_still_runs_a_deterministic_request(loop: WorkerLoop) -> None:
    first, second = submit(3, deterministic=True), submit(3, deterministic=True)
    assert get_kind("txt2img").open_session(get_kind("txt2img").read_spec(first)) is None
    run(loop)
    assert statuses([first, second]) == ["succeeded", "succeeded"]


def test_a_pause_lets_go_of_the_model_and_the_next_step_takes_it_again(loop: WorkerLoop, loader: ModelLoader) -> None:
    job = submit(0, steps=5)
    stepper = open_session(loop)
    stepper.step_to(2)
    assert [model["pinned"] for model in loader.loaded() if model["id"] == "sd1"] == [True]
    stepper.session.pause()
    assert [model["pinned"] for model in loader.loaded() if model["id"] == "sd1"] == [False]
    loader.unload("sd1")
    run(loop)
    assert statuses([job]) == ["succeeded"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_away_at_the_end_leaves_no_files(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    jobs = [submit(number) for number in range(4)]

    def away(outcome: Any) -> None:
        if isinstance(outcome, Finished):
            get_kind("txt2img").discard(outcome.output)  # as `finish` does
            raise OperationalError("away")

    monkeypatch.setattr("api.jobs.worker.loop.end", away)
    run(loop)
    assert loop.sessions == {}
    assert loop.keeper.tokens() == []
    assert statuses(jobs) == ["running"] * 4  # by their lease: the sweep gives them to whoever reaches the database
    assert [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()] == []


def test_a_disk_that_is_full_fails_the_job_whose_picture_has_no_room(loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.files import storage
    from api.files.errors import DiskFull

    write = storage.write_image_files

    def full(data: bytes, picture: Any, output_format: str) -> Any:
        if output_format == "webp":
            raise DiskFull
        return write(data, picture, output_format)

    monkeypatch.setattr(storage, "write_image_files", full)
    jobs = [submit(0), submit(1, output_format="webp"), submit(2)]
    run(loop)
    assert statuses(jobs) == ["succeeded", "failed", "succeeded"]
    assert jobs[1].error["code"] == "disk_full"
