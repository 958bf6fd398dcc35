"""The short form of the rolling restart: two web processes, each ended and started once, while clients without retries send requests."""

import os
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_no_request_fails_while_one_web_process_after_the_other_is_restarted() -> None:
    command = [sys.executable, "-m", "benchmarks.rolling_restart", "--processes", "2", "--rate", "10", "--rounds", "1"]
    if url := os.environ.get("DATABASE_URL"):
        command += ["--database", url]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
