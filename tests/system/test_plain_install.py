"""What is offered works with requirements.txt alone, as `./start.sh` leaves it: not only where the tests' packages are installed too."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.images.scheduler_presets import SCHEDULERS
from tests.live import ROOT, LiveServer
from tests.plain_install import development_modules, needed_by, plain_environment

pytestmark = [pytest.mark.models, pytest.mark.own_database]
PICTURE = base64.b64encode((ROOT / "api/starter/weights/lake.png").read_bytes()).decode()
DRAWING = {"skia"}
"""What training and evaluating the starter models needs beside the server's packages."""


@pytest.fixture(scope="module")
def server(starter_server: LiveServer) -> LiveServer:
    return starter_server


def succeeds(server: LiveServer, path: str, **body: Any) -> dict[str, Any]:
    reply = server.client.post(path, json=body)
    assert reply.status_code in (200, 201), reply.text
    return reply.json()


def test_the_packages_of_the_tests_are_hidden_and_the_servers_are_not() -> None:
    assert {"pytest", "httpx", "skia", "torchmetrics"} <= development_modules()
    assert development_modules().isdisjoint({"django", "torch", "PIL", "numpy", "redis", "yaml", "kombu", "packaging"})
    assert needed_by("requirements.txt") < needed_by("requirements-dev.txt") | needed_by("requirements.txt")
    tried = subprocess.run(
        [sys.executable, "-c", "import skia"], env={**os.environ, **plain_environment()}, capture_output=True
    )
    assert b"No module named 'skia'" in tried.stderr


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_makes_a_picture(server: LiveServer, name: str) -> None:
    succeeds(server, "/api/txt2img/", prompt="a lake", steps=2, scheduler=name, seed=1)


@pytest.mark.parametrize("rank_by", ["clip", "aesthetic", "layout", "objects"])
def test_every_criterion_ranks(server: LiveServer, rank_by: str) -> None:
    succeeds(server, "/api/txt2img/", prompt="a lake", steps=2, best_of=2, rank_by=rank_by)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_every_format_is_written(server: LiveServer, output_format: str) -> None:
    succeeds(server, "/api/txt2img/", prompt="a (red)++ circle", steps=2, output_format=output_format)


@pytest.mark.parametrize("backend", ["heuristic", "clip", "nima"])
def test_every_built_in_scorer_judges(server: LiveServer, backend: str) -> None:
    succeeds(server, "/api/score/", image=PICTURE, backend=backend)


@pytest.mark.parametrize("backend", ["auto", "pytorch", "onnx"])
def test_every_built_in_backend_chats(server: LiveServer, backend: str) -> None:
    content = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]
    body = {"model": "starter-vlm", "messages": [{"role": "user", "content": content}], "backend": backend}
    assert succeeds(server, "/v1/chat/completions", **body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", ["/api/img2img/", "/api/clip-score/"])
def test_the_other_kinds_of_job_run(server: LiveServer, path: str) -> None:
    bodies = {
        "/api/img2img/": {"prompt": "a lake", "image": PICTURE, "steps": 4, "strength": 0.5},
        "/api/clip-score/": {"images": [PICTURE], "prompts": ["a lake"]},
    }
    succeeds(server, path, **bodies[path])


IMPORT_ALL = """
import importlib, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
missing = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name
print(json.dumps(missing))
"""


def test_every_module_of_the_server_can_be_imported(tmp_path: Path) -> None:
    """Only what draws training pictures and measures models on them needs more, and pictures in a bucket (requirements-s3.txt)."""
    files = [file.relative_to(ROOT) for top in ("api", "config") for file in (ROOT / top).rglob("*.py")]
    names = sorted(
        ".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files if file.name != "__main__.py"
    )
    names = [name for name in names if name != "config.gunicorn" and ".migrations" not in name]
    environment = {**os.environ, **plain_environment(), "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout.splitlines()[-1])
    assert {
        name: module
        for name, module in missing.items()
        if not (name.startswith("api.starter.") and module in DRAWING) and not name.startswith("api.files.s3.")
    } == {}
