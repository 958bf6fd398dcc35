"""The short form of the benchmark: web process and worker are killed while the receiver has random faults, and nothing is lost."""

import os
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_kills_and_faults_lose_no_message():
    command = [sys.executable, "-m", "benchmarks.webhooks", "--kills", "6", "--jobs", "60", "--no-hanging"]
    if url := os.environ.get("DATABASE_URL"):
        command += ["--database", url]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
