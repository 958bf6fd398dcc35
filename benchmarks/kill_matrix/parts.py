"""The processes of a cell: each of them can be killed, and is started again. All end with this process, whatever ends that."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import until
from benchmarks.kill_matrix.cells import Cell
from tests.jobs.rabbitmq_server import RabbitServer
from tests.jobs.redis_server import RedisServer
from tests.live import ROOT, LiveServer, free_port
from tests.postgres import OwnPostgres
from tests.tcp_proxy import TcpProxy

BUCKET = "pictures"
KEYS = {"access_key": "key", "secret_key": "secret", "region_name": "us-east-1"}
WORKERS = 2


class S3Server:
    """moto's server in a process of its own, which keeps all in memory: so it is a proxy that goes away, and cuts every connection."""

    def __init__(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        atexit.register(end_process, self.process)
        self.url = f"http://127.0.0.1:{port}"
        self.proxy = TcpProxy(port)
        self.options = {"bucket_name": BUCKET, "endpoint_url": f"http://127.0.0.1:{self.proxy.port}", **KEYS}
        until(self.make_bucket, 60)

    def client(self) -> Any:
        import boto3

        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.url, **keys)

    def make_bucket(self) -> bool:
        from botocore.exceptions import BotoCoreError

        try:
            return bool(self.client().create_bucket(Bucket=BUCKET))
        except BotoCoreError:
            time.sleep(0.2)
            return False

    def names(self) -> set[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}

    def be_away(self, seconds: float) -> None:
        self.proxy.stop()
        time.sleep(seconds)
        self.proxy.start()


class WorkerProcess:
    """`manage.py worker`, or Celery's, as README starts them; where it is killed another is started, as a service manager does."""

    def __init__(self, server: LiveServer, number: int, celery: bool) -> None:
        celery_command = [str(Path(sys.executable).with_name("celery")), "-A", "config", "worker"]
        self.command = celery_command if celery else [sys.executable, "manage.py", "worker"]
        self.environment, self.log = server.environment, server.folder / f"worker-{number}.log"
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            end_process(self.process)


class Parts:
    def __init__(self, cell: Cell, folder: Path) -> None:
        """The servers that a cell stands on; `make_server` comes once the settings are read."""
        self.cell, self.folder = cell, folder
        self.postgres = self.make_postgres() if cell.database == "postgres" else None
        self.broker = self.make_broker()
        self.s3 = S3Server() if cell.media == "s3" else None
        self.workers: list[WorkerProcess] = []

    def make_postgres(self) -> OwnPostgres:
        """Its folder goes with it, and so do the databases in it."""
        postgres = OwnPostgres().__enter__()
        atexit.register(postgres.__exit__)
        return postgres

    def make_broker(self) -> RedisServer | RabbitServer | None:
        made: RedisServer | RabbitServer | None = None
        if self.cell.broker:
            made = RedisServer(self.folder) if self.cell.broker == "redis" else RabbitServer(self.folder)
            atexit.register(made.stop)
        return made

    @property
    def environment(self) -> dict[str, str]:
        found = {"JOB_RUNNER": self.cell.job_runner}
        if self.broker is not None:
            found["CELERY_BROKER_URL"] = self.broker.url
        if self.s3 is not None:
            found |= {"MEDIA_STORAGE": "s3", "MEDIA_STORAGE_OPTIONS": json.dumps(self.s3.options)}
        return found

    def start_server(self, data: Path) -> None:
        self.server = LiveServer(data, JOB_RUNNER=self.cell.job_runner)
        atexit.register(self.server.stop)
        self.server.start()
        if self.cell.runner != "embedded":
            self.workers = [WorkerProcess(self.server, number, bool(self.cell.broker)) for number in range(WORKERS)]
            for worker in self.workers:
                worker.start()

    def stop_server(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.server.stop()

    def stored_names(self) -> set[str]:
        from django.conf import settings

        if self.s3 is not None:
            return self.s3.names()
        return {str(path.relative_to(settings.MEDIA_ROOT)) for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()}


def end_process(process: subprocess.Popen[bytes], patience: float = 45) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def processes_of(data: Path) -> list[psutil.Process]:
    """Those that were started with this data folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("DATA_DIR") == str(data):
                found.append(process)
        except psutil.Error:
            continue
    return found
