"""JOB_RUNNER=celery with a real RabbitMQ, killed and started again; and what is said of a broker that can't be used."""

import base64
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.system.broker_trial import explain, try_broker
from tests.jobs.rabbitmq_server import RABBITMQ, RabbitServer
from tests.live import ROOT, LiveServer, free_port

pytestmark = [
    pytest.mark.own_database,
    pytest.mark.models,
    pytest.mark.skipif(RABBITMQ is None and os.environ.get("CI") != "true", reason="rabbitmq-server is not installed"),
]
PICTURE = base64.b64encode((ROOT / "api/starter/weights/lake.png").read_bytes()).decode()


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.stop()


@pytest.fixture
def server(rabbit: RabbitServer, tmp_path: Path) -> Iterator[LiveServer]:
    """With a Celery worker, as README has it; without torch, since what is tried here needs no model."""
    with LiveServer(
        tmp_path / "data", DATABASE_URL="", JOB_RUNNER="celery", CELERY_BROKER_URL=rabbit.url, LOAD_MODELS="false"
    ) as live:
        command = [str(Path(sys.executable).with_name("celery")), "-A", "config", "worker"]
        with (live.folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(command, cwd=ROOT, env=live.environment, stdout=log, stderr=log)
        yield live
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


def test_jobs_run_and_those_accepted_while_it_is_killed_do_too(server: LiveServer, rabbit: RabbitServer) -> None:
    def submit() -> str:
        body = {"image": PICTURE, "kind": "canny"}
        reply = server.client.post("/api/preprocess/", json=body, headers={"Prefer": "respond-async"})
        assert reply.status_code == 202
        return str(reply.json()["links"]["self"])

    def is_done(job: str) -> bool:
        return bool(server.client.get(job).json()["status"] == "succeeded")

    first = submit()
    server.wait_until(lambda: is_done(first), "a worker takes it")
    rabbit.stop()
    second = submit()
    rabbit.start()
    third = submit()
    server.wait_until(lambda: is_done(second) and is_done(third), "the sweep finds it")


def test_what_is_wrong_with_it_is_a_sentence_with_its_cure(rabbit: RabbitServer) -> None:
    assert try_broker(rabbit.url).sentence.endswith("answers")
    for url, reason in (
        (f"amqp://guest:s3cret@127.0.0.1:{rabbit.port}//", "refuses the user or the password"),
        (f"amqp://guest:guest@127.0.0.1:{rabbit.port}/nowhere", "has no database or virtual host"),
        (f"amqps://guest:guest@127.0.0.1:{rabbit.port}//", "TLS"),
        (f"amqp://127.0.0.1:{free_port()}//", "nothing listens there"),
        ("redis://nowhere.invalid/0", "has a host that is not known"),
        (f"redis://127.0.0.1:{rabbit.port}/0", "does not answer"),
    ):
        trial = try_broker(url)
        assert reason in f"{trial.reason} {trial.cure}", trial
        assert "CELERY_BROKER_URL" in trial.cure
        assert "s3cret" not in trial.sentence
    assert "TLS" in explain(ssl.SSLError("certificate verify failed"))[0]
