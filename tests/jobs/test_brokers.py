"""JOB_RUNNER=celery with a real Redis and a real RabbitMQ: away, slow, emptied, killed, wrongly addressed. No job waits for one."""

import os
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp.exceptions
import kombu
import pytest
import redis

from api.jobs.notify.broker import Publisher
from api.system.broker_trial import explain, try_broker
from config.celery import app
from tests.jobs.rabbitmq_server import RABBITMQ, RabbitServer
from tests.jobs.redis_server import REDIS, RedisServer
from tests.live import ROOT, LiveServer, free_port
from tests.tcp_proxy import TcpProxy

Broker = RedisServer | RabbitServer
HAVE_BOTH = bool(REDIS and RABBITMQ) or os.environ.get("CI") == "true"
pytestmark = [
    pytest.mark.own_database,
    pytest.mark.models,
    pytest.mark.skipif(not HAVE_BOTH, reason="redis-server or rabbitmq-server is not installed"),
]
QUICK_SECONDS = 1.9
"""Of a POST, on a machine that does other things, too. One that waited for the slow broker would take 2 or more."""
WORKERS = 2


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    server: Broker = RedisServer(folder, password="right") if request.param == "redis" else RabbitServer(folder)
    yield server
    server.stop()


@pytest.fixture
def proxy(broker: Broker) -> Iterator[TcpProxy]:
    proxy = TcpProxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def server(broker: Broker, proxy: TcpProxy, tmp_path: Path) -> Iterator[LiveServer]:
    """Without torch, since what is tried here needs no model. The broker is away when it starts."""
    proxy.stop()
    environment = {
        "DATABASE_URL": "",
        "JOB_RUNNER": "celery",
        "CELERY_BROKER_URL": broker.url.replace(str(broker.port), str(proxy.port)),
        "DJANGO_SETTINGS_MODULE": "tests.jobs.kinds_app.settings",
        "LOAD_MODELS": "false",
    }
    with LiveServer(tmp_path / "data", **environment) as live:
        yield live


@pytest.fixture
def workers(server: LiveServer) -> Iterator[list[subprocess.Popen[bytes]]]:
    """As README has it, two on one machine."""
    command = [str(Path(sys.executable).with_name("celery")), "-A", "config", "worker"]
    with (server.folder / "worker.log").open("wb") as log:
        found = [subprocess.Popen(command, cwd=ROOT, env=server.environment, stdout=log, stderr=log) for _ in range(WORKERS)]
    yield found
    for worker in found:
        worker.kill()
        worker.wait()


class Jobs:
    """Submits jobs, each within its time, and waits for them."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def submit(self, count: int, kind: str = "noop", **params: Any) -> list[str]:
        return [self.submit_one(kind, params) for _ in range(count)]

    def submit_one(self, kind: str, params: dict[str, Any], most: float = QUICK_SECONDS) -> str:
        started = time.monotonic()
        body = {"kind": kind, "params": params}
        reply = self.server.client.post("/api/test-jobs/", json=body, headers={"Prefer": "respond-async"})
        assert reply.status_code == 202
        assert time.monotonic() - started < most
        return str(reply.json()["links"]["self"])

    def are_done(self, jobs: list[str]) -> bool:
        return all(self.server.client.get(job).json()["status"] == "succeeded" for job in jobs)

    def run(self, count: int, what: str) -> None:
        jobs = self.submit(count)
        self.server.wait_until(lambda: self.are_done(jobs), f"jobs are done: {what}", 30)

    def ask(self, query: str) -> list[Any]:
        with sqlite3.connect(self.server.folder / "darkroom.sqlite3", timeout=20) as database:
            return database.execute(query).fetchall()


def empty(broker: Broker) -> None:
    """All that it holds, the queue itself, too."""
    if isinstance(broker, RedisServer):
        redis.Redis(port=broker.port, password=broker.password).flushall()
    else:
        with kombu.Connection(broker.url) as connection:
            connection.default_channel.queue_purge("celery")
            connection.default_channel.queue_delete("celery")


def test_no_job_waits_for_a_broker(
    server: LiveServer, workers: list[subprocess.Popen[bytes]], broker: Broker, proxy: TcpProxy
) -> None:
    jobs = Jobs(server)
    first = [jobs.submit_one("noop", {}, most=10)]  # with which the web process imports Celery
    server.wait_until(lambda: jobs.are_done(first), "a worker takes it, though the broker is away since before its start")
    proxy.start()
    jobs.run(10, "the broker is there")
    proxy.delay = 2
    jobs.run(3, "it is slow")
    proxy.delay = 0
    proxy.stop()  # who waits for it need not go on doing so
    proxy.start()
    broker.stop()
    jobs.run(3, "it is killed")
    broker.start()
    empty_when_used(broker, jobs)
    jobs.run(3, "it was emptied")
    assert [worker.poll() for worker in workers] == [None] * WORKERS
    share_and_end(jobs, workers)
    said = (server.folder / "worker.log").read_text()
    assert "Traceback" not in said, said
    assert "Cannot connect" in said
    assert 1 <= server.log.read_text().count("The broker takes no wake-ups") <= 5


def empty_when_used(broker: Broker, jobs: Jobs) -> None:
    """Once somebody has declared a queue again."""

    def emptied() -> bool:
        jobs.run(1, "it is started again")
        try:
            empty(broker)
        except amqp.exceptions.NotFound:
            return False
        return True

    jobs.server.wait_until(emptied, "the queue is there again", 40)


def share_and_end(jobs: Jobs, workers: list[subprocess.Popen[bytes]]) -> None:
    """Both take their part, one that is for one of them is that one's, and both end at the signal though more wait."""
    [[addressed]] = jobs.ask("SELECT id FROM jobs_worker WHERE state != 'stopped' ORDER BY id LIMIT 1")
    jobs.submit(30, "sleep", seconds=0.2)
    for_one = jobs.submit(4)
    marks = ", ".join(f"'{job.rstrip('/').rpartition('/')[2].replace('-', '')}'" for job in for_one)
    jobs.ask(f"UPDATE jobs_job SET only_worker_id = '{addressed}' WHERE id IN ({marks}) AND status = 'queued'")
    workers_of = "SELECT DISTINCT worker_id FROM jobs_job WHERE kind = 'sleep' AND worker_id NOT NULL"
    jobs.server.wait_until(lambda: len(jobs.ask(workers_of)) == WORKERS, "both share")
    started = time.monotonic()
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.wait(30)
    assert time.monotonic() - started < 20
    assert jobs.ask("SELECT COUNT(*) FROM jobs_job WHERE status = 'running'") == [(0,)]
    assert jobs.ask(f"SELECT COUNT(*) FROM jobs_job WHERE only_worker_id = '{addressed}' AND worker_id != '{addressed}'") == [
        (0,)
    ]


def test_what_is_wrong_with_it_is_a_sentence_with_its_cure(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of doctor and of the start; and the log of a web process has it, too."""
    assert try_broker(broker.url).sentence.endswith("answers")
    for url, reason in wrong_urls(broker):
        trial = try_broker(url)
        assert reason in f"{trial.reason} {trial.cure}", trial
        assert "CELERY_BROKER_URL" in trial.cure
        assert "s3cret" not in trial.sentence
        publisher = Publisher()
        publisher.connection = app.connection_for_write(url)
        assert not publisher.try_to_send("x")
        assert publisher.connection is None
    assert "TLS" in explain(ssl.SSLError("certificate verify failed"))[0]


def wrong_urls(broker: Broker) -> list[tuple[str, str]]:
    at = f"127.0.0.1:{broker.port}"
    if isinstance(broker, RedisServer):
        return [
            (f"redis://:s3cret@{at}/0", "the user or the password"),
            (f"redis://:right@{at}/99", "has no database or virtual host"),
        ]
    return [
        (f"amqp://guest:s3cret@{at}//", "refuses the user or the password"),
        (f"amqp://guest:guest@{at}/nowhere", "has no database or virtual host"),
        (f"amqps://guest:guest@{at}//", "TLS"),
        (f"amqp://127.0.0.1:{free_port()}//", "nothing listens there"),
        ("redis://nowhere.invalid/0", "has a host that is not known"),
        (f"redis://{at}/0", "does not answer"),
    ]
