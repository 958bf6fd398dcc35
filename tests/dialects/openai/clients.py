"""Clients that are no requirement of the tests: run where they are found.

CLIENTS_PYTHON names a Python that has litellm, CLIENTS_NODE a folder whose node_modules has openai, ai and @ai-sdk/openai.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.openai.conftest import OpenAIServer


def python_with(package: str) -> str:
    """The Python that has it; skips the test where none has."""
    if find_spec(package):
        return sys.executable
    python = os.environ.get("CLIENTS_PYTHON", "")
    if not python:
        pytest.skip(f"{package} is not installed, and CLIENTS_PYTHON names no Python that has it")
    return python


def node_folder(*packages: str) -> Path:
    """The folder whose node_modules has these; skips the test where there is none."""
    folder = Path(os.environ.get("CLIENTS_NODE", ""))
    missing = [name for name in packages if not (folder / "node_modules" / name).is_dir()]
    if not shutil.which("node") or not os.environ.get("CLIENTS_NODE") or missing:
        pytest.skip(f"CLIENTS_NODE names no folder with {', '.join(missing or packages)}, or there is no node")
    return folder


def run_client(command: Sequence[str], server: OpenAIServer, **options: Any) -> str:
    """What the program prints. It finds the server in OPENAI_BASE_URL and OPENAI_API_KEY."""
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False, encoding="utf-8", **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
