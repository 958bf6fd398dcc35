"""Settings that are wrong stop the start with a sentence that names them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT


def start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "DATA_DIR": str(folder), "DATABASE_URL": "", **environment}
    code = "from config import settings; print(settings.WEBHOOK_RETRY_SECONDS, settings.WEBHOOK_ALLOW_PRIVATE)"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=settings, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_RETRY_SECONDS", "5,soon"),
        ("WEBHOOK_RETRY_SECONDS", "-1"),
        ("WEBHOOK_RETRY_SECONDS", "nan"),
        ("WEBHOOK_RETRY_SECONDS", "1e9"),
        ("WEBHOOK_ALLOW_PRIVATE", "perhaps"),
        ("WEBHOOK_RETENTION_DAYS", "0"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, name: str, value: str) -> None:
    done = start(tmp_path, **{name: value})
    assert done.returncode == 1
    assert f"ImproperlyConfigured: {name} must be" in done.stderr


def test_the_waits_can_be_set(tmp_path: Path) -> None:
    assert start(tmp_path, WEBHOOK_RETRY_SECONDS="0.5, 10").stdout == "[0.5, 10.0] False\n"
