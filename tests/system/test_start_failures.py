"""Whatever keeps the server from starting is one sentence with its cure, and exit status 1: `manage.py prepare`, which ./start.sh runs."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from config.failures import missing_module
from tests.live import DATABASE, ROOT, LiveServer, free_port, migrated_file

pytestmark = pytest.mark.own_database


def manage(*command: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """With nothing of the test run's own settings but the file that is no .env."""
    kept = ("PATH", "HOME", "ENV_FILE", "PYTHONPATH", "HIDDEN_MODULES")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    given = {"PORT": str(free_port()), "LOG_FORMAT": "text", **inherited, **environment}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
    )


def the_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The only line that was written."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 1, (done.returncode, lines)
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def with_tables(data: Path) -> None:
    data.mkdir()
    shutil.copyfile(migrated_file(), data / DATABASE)


WRONG = [
    (
        {"DATABASE_URL": "postgresql://u:secret@127.0.0.1:9/n"},
        "The database 'n' at 127.0.0.1:9 can't be reached: Connection refused",
        "Start it",
    ),
    ({"DATABASE_URL": "mysql://u@localhost/n"}, "DATABASE_URL must begin with postgresql:// or sqlite:///", ""),
    ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not a database URL", "postgresql://user:password@host"),
    ({"DATABASE_URL": "postgresql://u@h:port/n"}, "DATABASE_URL is not a database URL", "postgresql://user:password@host"),
    (
        {"DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3"},
        "The database /nowhere/at/all.sqlite3 can't be used: its folder is not there",
        "set DATA_DIR",
    ),
    ({"DATABASE_URL": "sqlite:////etc/hostname"}, "The database /etc/hostname can't be used", "set DATA_DIR"),
    (
        {"DATA_DIR": "/etc/passwd"},
        "DATA_DIR (/etc/passwd) can't be made: there is a file of that name",
        "Set DATA_DIR to a folder",
    ),
    ({"DATA_DIR": "/proc/darkroom"}, "DATA_DIR (/proc/darkroom) can't be made", "Set DATA_DIR to a folder"),
    ({"DATA_DIR": "/dev/null/data"}, "DATA_DIR (/dev/null/data) can't be made: not a directory", "Set DATA_DIR to a folder"),
    ({"MEDIA_ROOT": "/etc/passwd"}, "MEDIA_ROOT (/etc/passwd) can't be written to", "set MEDIA_ROOT to another folder"),
    (
        {"MODELS_DIR": "/dev/null/models"},
        "MODELS_DIR (/dev/null/models) can't be written to",
        "set MODELS_DIR to another folder",
    ),
    ({"HOST": "203.0.113.7", "ALLOWED_HOSTS": "x"}, "HOST 203.0.113.7 is not an address of this machine", "Set HOST=127.0.0.1"),
    ({"HOST": "no such name", "ALLOWED_HOSTS": "x"}, "HOST 'no such name' is no address", "Set HOST=127.0.0.1"),
    ({"PORT": "80000"}, "PORT must be between 1 and 65535, not 80000", ""),
    ({"PORT": "eighty"}, "PORT must be a whole number, not 'eighty'", ""),
    ({"MAX_BATCH": "0"}, "MAX_BATCH must be between 1 and 64, not 0", ""),
    ({"MAX_BODY_BYTES": "lots"}, "MAX_BODY_BYTES must be a size such as 6G", ""),
    ({"PROMPT_SCORES": "maybe"}, "PROMPT_SCORES must be true or false, not 'maybe'", ""),
    ({"DEVICE": "gpu"}, "DEVICE must be one of auto, cuda, mps, cpu, not 'gpu'", ""),
    ({"DEVICE": "mps"}, "DEVICE is mps, and this machine has none that PyTorch", "Set DEVICE=auto"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of debug, info", ""),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of auto, text, json", ""),
    ({"JOB_RUNNER": "cron"}, "JOB_RUNNER must be one of embedded, external, celery", ""),
    ({"JOB_RUNNER": "celery"}, "JOB_RUNNER is celery, and there is no CELERY_BROKER_URL", "Set CELERY_BROKER_URL"),
    (
        {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "mongodb://x"},
        "CELERY_BROKER_URL can't be used: for 'mongodb' the",
        "must be installed",
    ),
    (
        {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "nonsense"},
        "CELERY_BROKER_URL can't be used: it begins with no scheme, such as redis:// or amqp://",
        "redis://",
    ),
    (
        {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "rediss://x/0?ssl_cert_reqs=no"},
        "CELERY_BROKER_URL can't be used: ssl_cert_reqs=no is not known",
        "optional",
    ),
    ({"LIBRARY_DIRS": "'/data/models'"}, "LIBRARY_DIRS has quotes around its value", "Leave them out"),
    ({"DATABASE_URL": '"postgresql://u:secret@h/n"'}, "DATABASE_URL has quotes around its value", "Leave them out"),
    ({"CATALOG_EXTRA": "/nowhere/models.toml"}, "/nowhere/models.toml", "Correct the file that CATALOG_EXTRA names"),
    ({"CATALOG_EXTRA": "/etc/passwd"}, "/etc/passwd", "Correct the file that CATALOG_EXTRA names"),
    ({"CATALOG_EXTRA": "/"}, "CATALOG_EXTRA", "Correct the file that CATALOG_EXTRA names"),
    ({"DEFAULT_IMAGE_MODEL": "sdxl-base-2.0"}, "DEFAULT_IMAGE_MODEL", "Set it to one of"),
    ({"HF_TOKEN_FILE": "/nowhere/token"}, "HF_TOKEN_FILE can't be read: No such file", ""),
    ({"SECRET_KEY_FILE": "/"}, "SECRET_KEY_FILE can't be read: Is a directory", ""),
    ({"EXTRA_APPS": "captions_of_ours"}, "EXTRA_APPS names 'captions_of_ours'", "install it"),
    ({"EXTRA_APPS": "captions_of_ours.apps.Config"}, "EXTRA_APPS names 'captions_of_ours.apps.Config'", "install it"),
    ({"EXTRA_APPS": "django.nothing"}, "there is no module 'django.nothing', which EXTRA_APPS", "Install it"),
    ({"EXTRA_APPS": "django.apps.config.Mine"}, "does not contain a 'Mine' class", "EXTRA_APPS"),
    ({"ENV_FILE": "/"}, "/ can't be read: Is a directory", ""),
    ({"DATA_DIR": "/proc"}, "DATA_DIR (/proc) can't be written to", "set DATA_DIR to another folder"),
    ({"MEDIA_ROOT": "/proc/x"}, "MEDIA_ROOT (/proc/x) can't be written to", "set MEDIA_ROOT to another folder"),
    ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL names no file", "sqlite:////data/darkroom.sqlite3"),
    ({"SECRET_KEY_FILE": "/dev/null"}, "SECRET_KEY_FILE (/dev/null) is empty", "unset SECRET_KEY_FILE"),
    ({"ALLOWED_HOSTS": " , "}, "ALLOWED_HOSTS has nothing between its commas", "unset it"),
]


@pytest.mark.parametrize(
    ("wrong", "named", "cure"), WRONG, ids=[" ".join(f"{n}={v}" for n, v in case[0].items()) for case in WRONG]
)
def test_what_keeps_the_server_from_starting_is_one_sentence(wrong: dict[str, str], named: str, cure: str, data: Path) -> None:
    sentence = the_sentence(manage("prepare", **{"DATA_DIR": str(data), **wrong}))
    assert sentence.startswith("Darkroom can't start: ")
    assert "Error" not in sentence
    assert named in sentence
    assert cure in sentence
    assert "secret" not in sentence


def test_a_taken_port_is_one_sentence_before_any_address_is_shown(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = the_sentence(manage("prepare", DATA_DIR=str(data), PORT=port))
    assert sentence == (
        f"Darkroom can't start: Port {port} of 127.0.0.1 is taken: another program listens there."
        " Stop it, or set PORT to another number."
    )
    assert not (data / "darkroom.sqlite3").stat().st_size or "auth_user" not in tables(data)  # and nothing was made


def test_runserver_says_in_one_sentence_that_the_port_is_taken(data: Path) -> None:
    with_tables(data)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = the_sentence(manage("runserver", address, DATA_DIR=str(data)))
    assert "is taken: another program listens there. Stop it, or set PORT" in sentence


def test_the_server_itself_says_a_wrong_setting_in_one_sentence(data: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(data), "MAX_BATCH": "many"}
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.asgi:application"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert the_sentence(done) == "Darkroom can't start: MAX_BATCH must be a whole number, not 'many'."


def test_the_addresses_are_shown_once_the_port_is_bound(data: Path) -> None:
    with_tables(data)
    assert manage("prepare", DATA_DIR=str(data)).stdout.count("http://") == 0
    live = LiveServer(data, JOB_RUNNER="external", DATABASE_URL="", LOG_FORMAT="text")
    try:
        live.start()
    finally:
        live.stop()
    assert live.log.read_text().splitlines()[0] == f"Darkroom  http://localhost:{live.port}/"


def tables(data: Path) -> set[str]:
    with closing(sqlite3.connect(data / "darkroom.sqlite3")) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """For root, who may write everywhere else, as a mount that nobody can write to."""
    if os.geteuid() != 0:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["DATA_DIR", "MEDIA_ROOT", "MODELS_DIR"])
def test_a_folder_that_may_not_be_written_to_is_one_sentence(name: str, tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with read_only(folder):
        sentence = the_sentence(manage("prepare", **{"DATA_DIR": str(data), name: str(folder)}))
    assert f"{name} ({folder}) can't be written to. Give " in sentence


def test_a_database_that_may_only_be_read_is_one_sentence(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    url = f"sqlite:///{folder}/old.sqlite3"
    shutil.copyfile(migrated_file(), folder / "old.sqlite3")
    with read_only(folder):
        sentence = the_sentence(manage("prepare", DATA_DIR=str(data), DATABASE_URL=url))
    assert f"The database {folder}/old.sqlite3 can't be used: " in sentence


def test_several_obstacles_are_a_sentence_each(data: Path) -> None:
    done = manage(
        "prepare", DATA_DIR=str(data), DATABASE_URL="postgresql://u@127.0.0.1:9/n", LOG_LEVEL="info", MEDIA_ROOT="/etc/passwd"
    )
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["Darkroom can't start"] * 2


# ---------------------------------------------------------------- .env


def env_file(folder: Path, text: str | bytes) -> str:
    file = folder / ".env"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("PORT=8000\nDEVICE cuda\n", 2),
        ("# mine\n\n\nHF_TOKEN\n", 4),
        ("=secret\n", 1),
        ("PORT=8000\n\nHF_TOKEN='secret\nDEVICE=cpu\n", 3),
        ("<<<<<<< HEAD\n", 1),
    ],
)
def test_a_line_that_is_no_setting_names_the_file_and_the_line(text: str, line: int, data: Path, tmp_path: Path) -> None:
    file = env_file(tmp_path, text)
    sentence = the_sentence(manage("prepare", DATA_DIR=str(data), ENV_FILE=file))
    assert f"{file}, line {line}, is not of the form NAME=value" in sentence
    assert "secret" not in sentence


def test_a_file_that_is_no_text_is_named(data: Path, tmp_path: Path) -> None:
    file = env_file(tmp_path, b"\xff\xfeP\x00")
    assert f"{file} is not UTF-8 text" in the_sentence(manage("prepare", DATA_DIR=str(data), ENV_FILE=file))


def test_an_unknown_name_is_said_with_the_nearest_at_the_start_and_by_the_doctor(data: Path, tmp_path: Path) -> None:
    with_tables(data)
    file = env_file(
        tmp_path, "# mine\nDEVIEC=cuda\nexport SECERT_KEY='a b'\nHF_TOKNE=x\nHF_HOME=/tmp\nADMIN_PASSWORD=x\nprot=1\n"
    )
    for command in ("prepare", "doctor"):
        done = manage(command, DATA_DIR=str(data), ENV_FILE=file)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        for line, name, nearest in ((2, "DEVIEC", "DEVICE"), (3, "SECERT_KEY", "SECRET_KEY"), (4, "HF_TOKNE", "HF_TOKEN")):
            assert f"line {line}: there is no setting {name}." in said
            assert f"Did you mean {nearest}?" in said
        assert "no setting prot" in said
        assert "HF_HOME" not in said
        assert "no setting ADMIN_PASSWORD" not in said


def test_what_has_no_effect_or_another_place_is_said_at_the_start(data: Path, tmp_path: Path) -> None:
    """A mistyped name in the environment, gunicorn's own, a folder that depends on where a process is started."""
    wrong = {"CELERY_BROKER_UR": "redis://x", "WEB_CONCURRENCY": "0", "HF_HOME": "/tmp", "MEDIA_ROOT": "media"}
    done = manage("prepare", DATA_DIR=str(data), folder=tmp_path, **wrong)
    assert done.returncode == 0, done.stderr
    for words in (
        "no setting CELERY_BROKER_UR, which the environment has. Did you mean CELERY_BROKER_URL?",
        "no setting WEB_CONCURRENCY, which the environment has. Did you mean WEB_PROCESSES?",
        f"MEDIA_ROOT (media) is relative: here it is {tmp_path}/media, for ./start.sh {ROOT}/media. Write MEDIA_ROOT as a whole path",
    ):
        assert words in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert "relative" not in manage("check", DATA_DIR=str(data), MEDIA_ROOT="media").stderr


# ---------------------------------------------------------------- other commands


def test_every_command_says_in_one_sentence_that_the_database_is_away(data: Path) -> None:
    """Side by side, since each tries for some seconds first."""

    def try_it(command: list[str]) -> subprocess.CompletedProcess[str]:
        return manage(*command, DATA_DIR=str(data), DATABASE_URL="postgresql://u@127.0.0.1:9/n")

    commands = [["migrate"], ["generate", "a lake"], ["create_key", "x"], ["sweep"], ["make_admin"]]
    with ThreadPoolExecutor(len(commands)) as pool:
        for done in pool.map(try_it, commands):
            assert the_sentence(done).startswith("The database 'n' at 127.0.0.1:9 can't be reached: "), done.args


def test_a_command_before_the_first_start_says_what_to_run(data: Path) -> None:
    assert "manage.py migrate" in the_sentence(manage("sweep", DATA_DIR=str(data)))


@pytest.mark.parametrize(
    ("module", "file"),
    [("skia", "requirements-dev.txt"), ("torchmetrics", "requirements-dev.txt"), ("torch", "requirements.txt")],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(module: str, file: str) -> None:
    assert missing_module(module) == (
        f"The Python package of the module '{module}' is not installed."
        f" This installs it: .venv/bin/python -m pip install -r {file}"
    )


def test_a_missing_module_of_our_own_is_no_package() -> None:
    assert missing_module("api") is None
