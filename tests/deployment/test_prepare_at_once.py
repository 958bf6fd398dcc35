"""Containers of one web server start at the same moment, on a database without tables: one makes them, and all go on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import ROOT, free_port
from tests.postgres import OwnPostgres

pytestmark = pytest.mark.own_database
PROCESSES = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shared.sqlite3"
    elif OwnPostgres.can_be_had():
        with OwnPostgres() as server:
            yield server.url
    else:
        pytest.skip("PostgreSQL is not installed")


def prepare(folder: Path, database: str) -> "subprocess.Popen[str]":
    settings = {"DATA_DIR": str(folder), "DATABASE_URL": database, "HOST": "0.0.0.0", "PORT": str(free_port())}
    environment = {**os.environ, **settings, "LOAD_MODELS": "false", "SECRET_KEY": "a key that all of them have: " + "k" * 50}
    command = [sys.executable, "manage.py", "prepare"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_one_makes_the_tables_the_account_and_the_key(database: str, tmp_path: Path) -> None:
    on_one_machine = database.startswith("sqlite")
    folders = [tmp_path / ("data" if on_one_machine else f"data{number}") for number in range(PROCESSES)]
    processes = [prepare(folder, database) for folder in folders]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, outputs
    assert sum("API key (shown this once)" in output for output in outputs) == 1, outputs
    assert sum("Admin account: admin" in output for output in outputs) == 1, outputs
