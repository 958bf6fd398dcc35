"""A real server for tests and benchmarks: gunicorn with its ASGI worker, a data folder of its own, and its embedded worker."""

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "darkroom.sqlite3"
PATIENCE_SECONDS = 200.0
"""Where others keep every core busy, a worker takes two minutes to start."""
USUAL_TABLES = {"DATABASE_URL": "", "EXTRA_APPS": "", "DJANGO_SETTINGS_MODULE": "config.settings"}
"""What has other values where a server's tables are others than those of `migrated_file`, or elsewhere."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def migrated_file() -> Path:
    """SQLite's file as every migration leaves it: a process of tests makes it once, and its servers begin with a copy."""
    folder = tempfile.mkdtemp(prefix="darkroom-migrated-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrate = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(migrate, cwd=ROOT, env={**os.environ, **USUAL_TABLES, "DATA_DIR": folder}, check=True, timeout=120)
    return Path(folder) / DATABASE


class LiveServer:
    """`with LiveServer(folder, JOB_RUNNER="external") as server: server.client.post(…)`. Keywords are environment variables."""

    prefix: Sequence[str] = ()
    """Before its command: what sets limits."""

    def __init__(self, folder: Path, **environment: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "JOB_RUNNER": "embedded",
            "LOG_FORMAT": "text",
            **{name: str(value) for name, value in environment.items()},
        }
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=120)

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *, wait: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*self.prefix, sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.asgi:application"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        if wait:
            self.wait_until(lambda: self.answers("/api/health/"), "the server answers")

    def answers(self, path: str) -> bool:
        try:
            return self.client.get(path, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_until(self, condition: Any, what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Asks less often the longer it takes: fifty questions a second took the server a tenth of a core, while its worker started."""
        begun = time.monotonic()
        while not condition():
            waited = time.monotonic() - begun
            assert waited < seconds, f"Waited {seconds} s in vain until {what}:\n{self.log.read_text()[-4000:]}"
            time.sleep(min(0.2, max(0.02, waited / 20)))

    def stop(self, sign: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def make_tables(self) -> None:
        database = self.folder / DATABASE
        usual = all(self.environment.get(name, value) == value for name, value in USUAL_TABLES.items())
        if usual and not database.exists():
            shutil.copyfile(migrated_file(), database)
        else:
            self.manage("migrate", "-v0")

    def __enter__(self) -> "LiveServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.make_tables()
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self.stop()
