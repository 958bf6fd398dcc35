"""Every run of the suite has a data folder of its own, made before Django reads its settings."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gc.disable()  # until all tests are collected: what that makes stays, and looking for garbage took a seventh of it
_folder = tempfile.mkdtemp(prefix="darkroom-")
os.environ["DATA_DIR"] = os.environ.get("DARKROOM_TEST_DATA") or _folder
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ["ENV_FILE"] = str(Path(_folder) / "no.env")
os.environ.setdefault("MIN_FREE_DISK_BYTES", "1M")
os.environ.setdefault("JOB_RUNNER", "external")
os.environ.setdefault("OMP_NUM_THREADS", "2")
# An image of a container may have set this. Without compiled files each of the hundreds of processes that tests start compiles its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Of processes that tests start: two packages that only requirements-dev.txt brings, and that diffusers imports where they are. Without them
# a worker starts in four fifths of the time.
_hiding = {"PYTHONPATH": str(Path(__file__).with_name("plain_install")), "HIDDEN_MODULES": "bitsandbytes,torchao"}
_before = {name: os.environ.get(name, "") for name in _hiding}
os.environ |= {**_hiding, "PYTHONPATH": os.pathsep.join(filter(None, (_hiding["PYTHONPATH"], _before["PYTHONPATH"])))}

import django
from django.conf import settings

django.setup()  # here, since the conftests of folders import models
# Django's own hasher takes 0.4 s for each user, on purpose.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

from tests import emptying, scheduling
from tests.live import LiveServer
from tests.plain_install import plain_environment

emptying.use()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Each process of a run has a data folder of its own, too: with this name in its environment, pytest-django would read the settings
    before the lines above are run there, with the folder of the process that started it. They have all packages, too."""
    del os.environ["DJANGO_SETTINGS_MODULE"]
    os.environ |= _before
    gc.enable()


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    scheduling.choose(config, items)
    if hasattr(config, "workerinput"):
        scheduling.put_longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduling.LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("MEASURE") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(scheduling.Measurement())


@pytest.fixture(scope="module", autouse=True)
def frozen_objects() -> None:
    """What is here before a file's first test, most of it torch's and transformers' modules, stays: the garbage collector looks at it
    no more. A collection, and a shortage of memory makes one, took 0.3 s of each test that loads a model."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def counts_in_memory() -> None:
    """A worker that one test makes here starts no thread that adds its counts to the database of another."""
    from api.system import totals

    totals._started.acquire(blocking=False)


@pytest.fixture(scope="session")
def starter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """As `./start.sh` leaves it, with the built-in models and without keys: for the files that tests/scheduling.py names."""
    with LiveServer(tmp_path_factory.mktemp("starter"), DATABASE_URL="", **plain_environment()) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live
