"""A PostgreSQL of a test's own, which it may stop, kill and start again."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tests.live import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class OwnPostgres:
    """`with OwnPostgres() as server: server.restart()`. As root it runs under the account postgres, since it refuses root."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="darkroom-postgres-"))
        self.url = f"postgresql://darkroom@127.0.0.1:{self.port}/postgres"
        self.environment = dict(os.environ)  # as it is now, whatever a benchmark adds to it
        self.as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    @staticmethod
    def can_be_had() -> bool:
        return bool(BINARIES) and (os.geteuid() != 0 or shutil.which("runuser") is not None)

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.as_other, str(BINARIES[-1] / program), "-D", str(self.folder / "data"), *arguments]
        null = subprocess.DEVNULL
        subprocess.run(command, cwd="/", env=self.environment, check=True, stdout=null, stderr=null, timeout=60)

    def run_sql(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=100 -c fsync=off"
        self.run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As a crash does: every connection is cut, nothing is written."""
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill_and_start(self, seconds: float = 60) -> None:
        """SIGKILL to the server's first process. Its others notice that and end; until then no new one can start here."""
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.start()
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def __enter__(self) -> "OwnPostgres":
        shutil.chown(self.folder, "postgres" if self.as_other else getpass.getuser())
        self.run("initdb", "-A", "trust", "-U", "darkroom", "--no-sync")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder)
