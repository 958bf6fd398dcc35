"""README is true: its commands run after a plain `./start.sh` (or say which line installs what they need), its examples answer as shown."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from config.env import setting_names
from tests.live import ROOT, LiveServer
from tests.plain_install import plain_environment

pytestmark = [pytest.mark.models, pytest.mark.own_database]
README = (ROOT / "README.md").read_text()
INSTALL = ".venv/bin/python -m pip install -r requirements-dev.txt"

# Each command that README names, with its smallest arguments: {folder} is empty, {photos} has a picture, {weights} is a pickle.
COMMANDS = {
    "manage.py caption": ["{photos}", "--output", "{folder}/captions.csv"],
    "manage.py convert_weights": ["{weights}", "--output", "{folder}"],
    "manage.py create_key": ["my-app"],
    "manage.py doctor": [],
    "manage.py export_onnx": ["starter-vlm", "--precision", "fp32", "--output", "{folder}"],
    "manage.py generate": ["a lake", "--steps", "1", "--out", "{folder}/lake.png"],
    "manage.py library": ["list"],
    "manage.py preload_models": ["--models", "starter"],
    "manage.py translations": [],
    "manage.py worker": ["--trial"],
}
NEED_DEVELOPMENT_PACKAGES = {
    "manage.py evaluate_scoring": ["--pairs", "8"],
    "-m benchmarks.kill_test": ["--help"],
    "-m benchmarks.kill_matrix": ["--help"],
}
SAY_WHAT_IS_MISSING = {"manage.py train_scorer": ["mine"]}  # on a server without ratings
# The second in tests/models/test_gpu_benchmark.py, the third in tests/files/test_move_media.py, the others in
# tests/system/test_backup.py and tests/jobs/test_draining.py.
TRIED_ELSEWHERE = {
    "-m pip",
    "-m benchmarks.gpu",
    "manage.py move_media",
    "manage.py backup",
    "manage.py restore",
    "manage.py drain",
}


def test_every_command_in_readme_is_tried_here() -> None:
    named = set(re.findall(r"manage\.py [a-z_]+|-m [a-z_.]+", README))
    assert named == {*COMMANDS, *NEED_DEVELOPMENT_PACKAGES, *SAY_WHAT_IS_MISSING, *TRIED_ELSEWHERE}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    assert run("manage.py prepare", [], folder).returncode == 0
    return folder


def run(command: str, arguments: list[str], data: Path, *, plain: bool = True) -> subprocess.CompletedProcess[str]:
    library = {"LIBRARY_DIRS": str(data)} if command == "manage.py library" else {}
    environment = {**os.environ, **library, "DATA_DIR": str(data), "DATABASE_URL": "", **(plain_environment() if plain else {})}
    line = [sys.executable, *command.split(), *arguments]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_after_a_plain_start(command: str, data: Path, tmp_path: Path) -> None:
    places = {"folder": tmp_path / "folder", "photos": tmp_path / "photos", "weights": tmp_path / "sac+logos.pth"}
    for name in ("folder", "photos"):
        places[name].mkdir()
    Image.new("RGB", (64, 64), "red").save(places["photos"] / "red.png")
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, places["weights"])
    done = run(command, [argument.format(**places) for argument in COMMANDS[command]], data)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", NEED_DEVELOPMENT_PACKAGES)
def test_a_command_that_needs_more_says_which_line_installs_it(command: str, data: Path) -> None:
    arguments = NEED_DEVELOPMENT_PACKAGES[command]
    done = run(command, arguments, data)
    (sentence,) = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 1
    assert sentence.endswith(f"This installs {'what the benchmarks need' if 'benchmarks' in command else 'it'}: {INSTALL}")
    assert INSTALL in README
    done = run(command, arguments, data, plain=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_scorer_without_ratings_says_how_many_are_missing(data: Path) -> None:
    done = run("manage.py train_scorer", SAY_WHAT_IS_MISSING["manage.py train_scorer"], data)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "CommandError: There are too few to learn from: 0 ratings and 0 comparisons of images; 20 are needed, so 20 more."
    )


# ---------------------------------------------------------------- examples


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("readme-server"), DATABASE_URL="") as live:
        live.wait_until(lambda: live.client.get("/api/ready/").json() == {"status": "ok"}, "the default models are loaded")
        yield live


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shape(value: Any) -> Any:
    """Its fields without their values."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value).__name__


def test_every_curl_answers_as_it_stands(server: LiveServer) -> None:
    shown = json.loads(blocks("json")[0])
    commands = re.findall(r"^    (curl -X POST .*?'\{.*?\}')$", README, re.DOTALL | re.MULTILINE)
    assert len(commands) == 2
    for number, command in enumerate(commands):
        line = command.replace("http://localhost:8000", server.url)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
        job = json.loads(done.stdout)
        assert job["status"] == "succeeded"
        if number == 0:
            del job["links"]
            assert job["params"] == shown["params"]
            assert shape(job) == shape(shown)


def test_the_things_of_a_picture_are_found(server: LiveServer, tmp_path: Path) -> None:
    ((prompt, seed, file),) = re.findall(r'manage.py generate "(.*)" --seed (\d+) --out (.*)\n    curl .* -F ', README)
    job = server.client.post("/api/txt2img/", json={"prompt": prompt, "seed": int(seed)}).json()
    (tmp_path / file).write_bytes(server.client.get(job["result"]["images"][0]["url"]).content)
    (command,) = re.findall(r"^    (curl .* -F .*)$", README, re.MULTILINE)
    line = command.replace("http://localhost:8000", server.url)
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout)["result"]
    assert sorted(one["label"] for one in result["detections"]) == ["circle", "square"]
    assert result["annotated"]["url"]


def test_the_python_example_talks_about_a_picture(server: LiveServer) -> None:
    (example,) = blocks("python")
    program = example.replace("http://localhost:8000", server.url)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "lake" in done.stdout


def test_a_key_is_sent_as_readme_says(server: LiveServer) -> None:
    (header,) = re.findall(r'-H "Authorization: (Bearer drk_)…"', README)
    token = server.manage("create_key", "my-app").strip()
    assert server.client.get("/api/jobs/").status_code == 401
    assert server.client.get("/api/jobs/", headers={"Authorization": header.replace("drk_", token)}).status_code == 200


# ---------------------------------------------------------------- settings


def test_the_table_has_every_setting_and_no_other() -> None:
    names = setting_names | {"ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE"}  # `make_admin` reads these itself
    rows = re.findall(r"^\| (`[A-Z].*?) \|", README.split("## Settings")[1], re.MULTILINE)
    described = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", " ".join(rows)))
    described |= set(re.findall(r"`([A-Z][A-Z0-9_]+)`", README.split("## Settings")[1])) & names
    files = {name for name in names if name.endswith("_FILE") and name.removesuffix("_FILE") in names}
    assert names - files - {"ENV_FILE"} - described == set()
    assert described <= names
