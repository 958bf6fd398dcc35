"""Every run of the suite has a data folder of its own, made before Django reads its settings."""

import gc
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

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

import django
from django.conf import settings

django.setup()  # here, since the conftests of folders import models
# Django's own hasher takes 0.4 s for each user, on purpose.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

from tests import emptying, scheduling

emptying.use()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Each process of a run has a data folder of its own, too: with this name in its environment, pytest-django would read the settings
    before the lines above are run there, with the folder of the process that started it."""
    del os.environ["DJANGO_SETTINGS_MODULE"]


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
