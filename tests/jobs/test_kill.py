"""The short form of the kill test, as a command that anybody can run: 20 kills while 200 jobs go through."""

import os
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_twenty_kills_lose_double_and_block_nothing():
    command = [sys.executable, "-m", "benchmarks.kill_test", "--kills", "20", "--jobs", "200"]
    if url := os.environ.get("DATABASE_URL"):
        command += ["--database", url]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
