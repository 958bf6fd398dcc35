"""A worker that can't start is told everywhere, with the reason; one that loads is told as loading."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from api import model_loader
from api.jobs.errors import JobCancelled
from api.jobs.identifiers import uuid7
from api.jobs.models import Worker
from api.jobs.start_failures import forget_start_failures, record_death_at_start, record_start_failure, start_failure
from api.jobs.states import Status
from api.jobs.worker import warming
from api.jobs.worker.hang_detection import STUCK_EXIT, end_if_hanging
from api.jobs.worker.loop import WorkerLoop
from api.loading.model_leases import DenoiserOptions
from api.system import diagnosis
from api.system.worker_factory import make_worker as make_worker_loop
from api.system.worker_runtime import start_runtime
from api.system.worker_trial import sentence_for_start
from tests.live import LiveServer
from tests.system.conftest import DEVICE, MakeJob

MakeWorker = Callable[..., Worker]
ShouldStop = Callable[[], bool]
REASON = "DEVICE is cuda, and this machine has none that PyTorch 2.13.0 can use. Set DEVICE=auto."


@pytest.fixture
def failed(db: None) -> None:
    record_start_failure(uuid7(), REASON)


@pytest.fixture
def restarting(failed: None, make_worker: MakeWorker) -> Worker:
    """The next try: its row is young, and it will most likely end as the one before did."""
    return make_worker(state=Worker.State.STARTING, device={}, loaded_models=[])


@pytest.mark.usefixtures("restarting")
def test_ready_is_503_while_the_worker_is_started_again_and_again(client: Client) -> None:
    reply = client.get("/api/ready/")
    assert (reply.status_code, reply.json()["code"]) == (503, "no_worker")
    assert "DEVICE" not in reply.content.decode()  # open to everybody, who need not know


@pytest.mark.usefixtures("restarting")
def test_status_has_the_reason(client: Client) -> None:
    status = client.get("/api/status/").json()
    assert (status["status"], status["worker_error"], status["inference_available"]) == ("no_worker", REASON, False)


@pytest.mark.usefixtures("restarting")
def test_the_page_has_the_reason_and_asks_again(client: Client) -> None:
    page = client.get("/").content.decode()
    assert f"No worker can start, so no picture can be made: {REASON}" in page
    assert 'hx-get="/studio/server-state"' in page
    assert REASON in client.get("/studio/server-state").content.decode()


@pytest.mark.usefixtures("restarting")
def test_the_admin_has_the_reason(admin_client: Client) -> None:
    cache.clear()
    assert REASON in admin_client.get("/admin/").content.decode()


@pytest.mark.usefixtures("restarting")
def test_the_doctor_has_the_reason() -> None:
    assert [finding.level for finding in diagnosis.examine_workers() if REASON in finding.text] == ["wrong"]


@pytest.mark.usefixtures("failed")
def test_one_that_starts_after_all_takes_the_reason_back(client: Client, make_worker: MakeWorker) -> None:
    make_worker()
    assert start_failure() == ""
    assert client.get("/api/ready/").json() == {"status": "ok"}
    assert client.get("/api/status/").json()["worker_error"] is None


def test_one_that_runs_is_ready_although_another_could_not_start(client: Client, make_worker: MakeWorker) -> None:
    make_worker()
    record_start_failure(uuid7(), REASON)
    assert client.get("/api/ready/").json() == {"status": "ok"}
    assert client.get("/api/status/").json()["worker_error"] == REASON


@pytest.mark.usefixtures("failed")
def test_of_many_tries_one_row_is_kept_and_none_after_a_new_start() -> None:
    for _ in range(3):
        record_start_failure(uuid7(), REASON)
    assert Worker.objects.count() == 1
    forget_start_failures()
    assert Worker.objects.count() == 0


def test_a_process_that_is_killed_as_it_starts_is_a_start_failure(make_worker: MakeWorker) -> None:
    record_death_at_start(make_worker(state=Worker.State.STARTING).pk, "signal 9")
    assert start_failure() == "The worker ended with signal 9 while it started; the server's log has more."


@pytest.mark.django_db
def test_a_process_that_ends_before_its_row_is_made_is_a_start_failure() -> None:
    record_death_at_start(uuid7(), "exit code 1")
    assert "exit code 1" in start_failure()


def test_a_process_that_is_killed_by_its_job_is_none(make_worker: MakeWorker, make_job: MakeJob) -> None:
    worker = make_worker(state=Worker.State.STARTING)
    make_job(status=Status.RUNNING, worker=worker)
    record_death_at_start(worker.pk, "signal 9")
    record_death_at_start(make_worker(state=Worker.State.BUSY).pk, "signal 9")
    assert start_failure() == ""


# ---------------------------------------------------------------- the worker's own words


@pytest.mark.django_db
def test_the_command_ends_with_one_sentence_and_keeps_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WORKER", "external")  # which the command sets, and nobody after it is to see
    settings.DEVICE = "mps"
    with pytest.raises(CommandError, match=r"DEVICE is mps, and this machine has none .* Set DEVICE=auto"):
        call_command("worker")
    assert start_failure().startswith("DEVICE is mps")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "This installs it: .venv/bin/python -m pip install -r req",
        ),
        (
            ImportError("libcudart.so.13: cannot open shared object file", name="torch"),
            "torch can't be loaded: install it anew",
        ),
        (
            RuntimeError("CUDA driver version is insufficient\nmore"),
            "can't use this device: CUDA driver version is insufficient. ",
        ),
        (KeyError("a secret"), "The worker fails with KeyError as it starts; its log has the reason."),
    ],
)
def test_why_a_worker_could_not_start_in_one_sentence(error: Exception, sentence: str) -> None:
    assert sentence in sentence_for_start(error)


@pytest.fixture
def server_without_its_device(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path / "data", DATABASE_URL="", DEVICE="mps") as live:
        yield live


@pytest.mark.own_database
def test_a_server_whose_device_is_not_there_is_not_ready(server_without_its_device: LiveServer) -> None:
    server = server_without_its_device
    server.wait_until(lambda: server.client.get("/api/status/").json()["worker_error"], "the worker has failed once")
    states = {server.client.get("/api/ready/").status_code for _ in range(200)}  # also while the next one starts
    assert states == {503}
    assert server.client.get("/api/status/").json()["worker_error"].startswith("DEVICE is mps")


# ---------------------------------------------------------------- loading


def test_a_worker_with_something_to_warm_up_is_loading_from_its_first_report_on(db: None) -> None:
    assert WorkerLoop(warm_up=lambda should_stop: None).report()["state"] == Worker.State.LOADING
    assert WorkerLoop().report()["state"] == Worker.State.IDLE


def test_ready_says_loading_until_the_models_are_in_memory(client: Client, make_worker: MakeWorker) -> None:
    worker = make_worker(state=Worker.State.LOADING)
    reply = client.get("/api/ready/")
    assert (reply.status_code, reply.json()) == (200, {"status": "loading"})
    assert "The model is being loaded" in client.get("/").content.decode()
    Worker.objects.filter(pk=worker.pk).update(state=Worker.State.IDLE)
    assert client.get("/api/ready/").json() == {"status": "ok"}
    part = client.get("/studio/server-state").content.decode()
    assert "loaded" not in part
    assert "hx-get" not in part


@pytest.mark.parametrize(
    ("graphs", "compiled", "options"),
    [("auto", "off", DenoiserOptions()), ("off", "regional", DenoiserOptions(graphs=False, compile_blocks=True))],
)
def test_a_worker_runs_denoisers_as_the_settings_say(
    settings: Any, monkeypatch: pytest.MonkeyPatch, graphs: str, compiled: str, options: DenoiserOptions
) -> None:
    monkeypatch.setattr(model_loader, "_loader", None)
    settings.IMAGE_GRAPHS, settings.IMAGE_COMPILE, settings.DEVICE = graphs, compiled, "cpu"
    start_runtime()
    assert model_loader.get_loader().denoiser_options == options


@pytest.mark.models
@pytest.mark.own_database
def test_the_first_picture_comes_within_five_seconds_of_ready_and_waits_for_no_model(tmp_path: Path) -> None:
    """With the model's own size and steps; ready is what the log, the status and /api/ready/ say."""
    with LiveServer(tmp_path / "data", DATABASE_URL="") as live:
        assert live.client.get("/api/ready/").json() == {"status": "loading"}
        live.wait_until(lambda: "is ready" in live.log.read_text(), "the worker's log says so")
        assert "Darkroom starter is loaded" in live.log.read_text().partition(" is ready")[0]
        live.wait_until(lambda: live.client.get("/api/ready/").json() == {"status": "ok"}, "the server says so", seconds=5)
        assert live.client.get("/api/status/").json()["loaded_models"] == ["starter", "starter-clip"]
        used = processor_seconds(live)
        job = live.client.post("/api/txt2img/", json={"prompt": "a lake"}).json()
        used = processor_seconds(live) - used
    assert job["status"] == "succeeded"
    assert job["timings"]["load"] < 0.5
    assert job["timings"]["queue"] < 5
    assert used < 5


def processor_seconds(live: LiveServer) -> float:
    """Of all its processes: what others on this machine do is not its fault."""
    assert live.process
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process(live.process.pid).children(recursive=True))


# ---------------------------------------------------------------- warm-ups that go wrong


@pytest.fixture
def quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bounds of a moment; exits are only written down."""
    exits: list[int] = []
    settings.JOB_STUCK_SECONDS = 0.1
    monkeypatch.setattr(warming, "WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr("os._exit", exits.append)
    return exits


def fail(should_stop: ShouldStop) -> None:
    raise RuntimeError("secret")


def take_too_long(should_stop: ShouldStop) -> None:
    while not should_stop():
        time.sleep(0.01)
    raise JobCancelled


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("work", "sentence"), [(fail, warming.FAILED), (take_too_long, "was stopped")])
def test_a_warm_up_that_fails_or_takes_long_is_told_and_the_worker_is_ready(
    db: None, client: Client, work: warming.Work, sentence: str
) -> None:
    loop = WorkerLoop(warm_up=work, describe=lambda: {"device": DEVICE, "loaded_models": []})
    assert loop.warm_up_once()
    loop.keeper.beat()
    status = client.get("/api/status/").json()
    assert (status["status"], client.get("/api/ready/").json()) == ("ready", {"status": "ok"})
    assert sentence in status["worker_error"]
    assert status["workers"][0]["device"]["name"] == "A GPU"
    assert not loop.warm_up_once()


def test_a_warm_up_stops_with_its_worker(db: None) -> None:
    loop = WorkerLoop(warm_up=take_too_long)
    loop.stopping.set()
    loop.warm_up_once()
    assert loop.warm_up_failure == ""


def test_a_warm_up_that_hangs_ends_its_worker_and_the_next_one_makes_none(db: None, quick: list[int]) -> None:
    def hang(should_stop: ShouldStop) -> None:
        time.sleep(0.2)
        end_if_hanging(loop.keeper.runs, loop.keeper.warm_up)  # as the lease keeper's thread does

    loop = WorkerLoop(warm_up=hang)
    loop.warm_up_once()
    assert quick == [STUCK_EXIT]
    after = WorkerLoop(warm_up=fail)
    after.warm_up_once()
    assert after.warm_up_failure == warming.HUNG
    forget_start_failures()  # as the server does when it starts
    again = WorkerLoop(warm_up=fail)
    again.warm_up_once()
    assert again.warm_up_failure == warming.FAILED


def test_what_waits_is_run_before_the_warm_up_and_the_worker_is_loading_until_then(db: None) -> None:
    loop = WorkerLoop(warm_up=lambda should_stop: None)
    loop.hold()
    assert loop.report()["state"] == Worker.State.LOADING
    loop.warm_up_once()
    assert loop.report()["state"] == Worker.State.IDLE


@pytest.mark.parametrize("setting", ["LOAD_MODELS", "USE_LOCAL_MODELS"])
def test_a_worker_without_models_of_its_own_is_ready_at_once(db: None, settings: Any, setting: str) -> None:
    setattr(settings, setting, False)
    assert make_worker_loop().state == Worker.State.IDLE
