"""The environments of other servers' clients, as `./start.sh clients` makes them.

Tests of one that isn't there are skipped; in CI that fails (tests/everything.py).
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".clients"
PROGRAMS = Path(__file__).with_name("programs")
ENVIRONMENTS = ("python", "instructor", "node")
SECONDS = 240
SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks another server for one
    "PYTHONDONTWRITEBYTECODE": "",  # or every program compiles hundreds of files anew
}


def is_installed(name: str) -> bool:
    return any((FOLDER / name).glob(".installed*")) and (name != "node" or shutil.which("node") is not None)


def need(name: str) -> Path:
    """Its folder. Skips the test where it is not installed."""
    if not is_installed(name):
        pytest.skip(f"the clients in .clients/{name} are not installed (./start.sh clients)")
    return FOLDER / name


def run_python(environment: str, *arguments: str, url: str, key: str) -> str:
    return run([str(need(environment) / "bin/python"), *arguments], url=url, key=key, folder=PROGRAMS)


def run_node(program: str, *, url: str, key: str) -> str:
    """`program`: a module's text. It runs in the folder of the packages, where Node looks for what a text imports."""
    return run(["node", "--input-type=module", "--eval", program], url=url, key=key, folder=need("node"))


def run(command: Sequence[str], *, url: str, key: str, folder: Path) -> str:
    """What the program prints. It finds the server in OPENAI_BASE_URL and OPENAI_API_KEY, as most clients do."""
    environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, **SETTINGS}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"It ended with {done.returncode}.\n{done.stdout}{done.stderr}"
    return done.stdout
