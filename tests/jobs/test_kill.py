"""The short forms of the kill test and of the kill matrix, as commands that anybody can run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from tests.jobs.redis_server import REDIS
from tests.postgres import OwnPostgres


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_twenty_kills_lose_double_and_block_nothing():
    command = [sys.executable, "-m", "benchmarks.kill_test", "--kills", "20", "--jobs", "200"]
    if url := os.environ.get("DATABASE_URL"):
        command += ["--database", url]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.own_database
@pytest.mark.timeout(240)
@pytest.mark.skipif(
    (REDIS is None or not OwnPostgres.can_be_had()) and os.environ.get("CI") != "true",
    reason="no redis-server, or no PostgreSQL",
)
def test_a_cell_of_the_matrix_that_is_stopped_is_judged_and_remembered(tmp_path: Path) -> None:
    """Every part of it: workers behind Redis, PostgreSQL, a bucket. Ctrl-C comes after the second kill."""
    command = [sys.executable, "-m", "benchmarks.kill_matrix", "--cells", "postgres-redis-s3", "--no-models", "--state"]
    command += [str(tmp_path / "state.json"), "--kills"]
    first = subprocess.Popen(
        [*command, "50"], cwd=settings.BASE_DIR, stdout=(tmp_path / "out").open("w"), stderr=subprocess.STDOUT
    )
    wait_for(tmp_path / "out", "kill 2")
    first.send_signal(signal.SIGINT)
    assert first.wait(200) == 0, (tmp_path / "out").read_text()
    [sitting] = json.loads((tmp_path / "state.json").read_text())
    kills = sum(sitting["kills"].values())
    assert 2 <= kills < 50
    again = subprocess.run([*command, str(kills)], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"| postgres-redis-s3 | {kills} (" in again.stdout


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 120
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
