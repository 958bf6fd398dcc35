"""What every benchmark needs: a fresh data folder and database, servers and workers as real processes, and tables.

`prepare` comes first, before anything of Django's is imported: settings are read once.
"""

import atexit
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.live import PATIENCE_SECONDS, ROOT, LiveServer

SETTINGS = "tests.jobs.kinds_app.settings"


def parser(description: str) -> ArgumentParser:
    made = ArgumentParser(description=description)
    made.add_argument(
        "--database", default="", help="postgresql://… of a server where a database may be created; SQLite without"
    )
    made.add_argument("--folder", type=Path, help="where the data folder is made; a disk decides how fast a commit is")
    return made


def prepare(options: Namespace, **environment: str) -> Path:
    """A data folder and a migrated database, both gone when this process ends; returns the folder."""
    data = Path(tempfile.mkdtemp(prefix="darkroom-benchmark-", dir=options.folder))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    fixed = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DATA_DIR": str(data),
        "MEDIA_ROOT": str(data / "media"),
        "ENV_FILE": str(data / "no.env"),
        "DATABASE_URL": new_postgres_database(options.database) if options.database else "",
        "JOB_RUNNER": "external",
        "LOG_LEVEL": "WARNING",
        "LOG_FORMAT": "text",
        "MIN_FREE_DISK_BYTES": "1M",
        "MAX_QUEUED_JOBS": "1000000",
        "MAX_ACTIVE_JOBS_PER_KEY": "1000000",
    }
    os.environ.update({**fixed, **environment})
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    return data


def new_postgres_database(url: str, suffix: str = "") -> str:
    import psycopg

    name = f"darkroom_benchmark_{os.getpid()}{suffix}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    atexit.register(drop_postgres_database, url, name)
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop_postgres_database(url: str, name: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


# ---------------------------------------------------------------- processes


def make_server(data: Path, **environment: str) -> LiveServer:
    """The server of the tests, with this process's settings; it ends with this process, whatever ends that."""
    server = LiveServer(data, **{"JOB_RUNNER": os.environ["JOB_RUNNER"], **environment})
    atexit.register(server.stop)
    return server


class WorkerProcess:
    """`manage.py worker` without models, with this process's settings."""

    def __init__(self, data: Path, **environment: str) -> None:
        command = [sys.executable, "manage.py", "worker"]
        with open(data / "worker.log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log)
        atexit.register(self.stop)
        from api.jobs.models import Worker

        until(
            lambda: Worker.objects.filter(pid=self.process.pid).exclude(state=Worker.State.STARTING).exists(), PATIENCE_SECONDS
        )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(25)
            except subprocess.TimeoutExpired:
                self.process.kill()


def until(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError(f"Not true within {seconds:.0f} s")


# ---------------------------------------------------------------- tables


def print_machine(data: Path) -> None:
    from django.db import connection

    software = f"Python {platform.python_version()}, {database_name(connection)}"
    print(f"\n{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {software}")
    print(f"One write that reaches the disk takes {disk_milliseconds(data):.2f} ms in this data folder")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def database_name(connection: Any) -> str:
    if connection.vendor == "sqlite":
        return f"SQLite {connection.Database.sqlite_version}"
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0].split()[0]}"


def disk_milliseconds(folder: Path, writes: int = 50) -> float:
    path = folder / "probe"
    with open(path, "wb") as file:
        file.write(b"0" * 4096 * writes)
        file.flush()
        os.fsync(file.fileno())
        started = time.monotonic()
        for number in range(writes):
            os.pwrite(file.fileno(), b"1" * 4096, 4096 * number)
            os.fdatasync(file.fileno())
        seconds = time.monotonic() - started
    path.unlink()
    return seconds / writes * 1000


def print_table(title: str, rows: Sequence[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    sys.stdout.flush()


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
