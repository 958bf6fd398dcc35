"""Which tests a run on PostgreSQL has, and in what order several processes take them."""

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SECONDS = Path(__file__).with_name("seconds.json")
"""What each file took in some run. `MEASURE=1 ./start.sh test -n 3 --dist loadfile --no-loadscope-reorder` writes it anew."""
THE_SAME_ON_POSTGRES = {"models", "own_database", "browser"}
SHARED_SERVERS = ("tests/dialects/a1111/", "tests/dialects/openai/", "tests/studio/")
"""Folders whose tests use one server, which each process would start for itself."""
SHARED_BY_FILES = {
    "tests/images/test_best_of.py": "starter_server",
    "tests/scoring/test_rank_by_taste.py": "starter_server",
    "tests/system/test_plain_install.py": "starter_server",
    "tests/vision/test_best_of_objects.py": "starter_server",
    "tests/dialects/test_generate_server.py": "tests/dialects/a1111/",
    "tests/dialects/test_clients_page.py": "tests/dialects/openai/",
}
"""Files that use one beside each other, or that of a folder."""


# ---------------------------------------------------------------- what PostgreSQL's run has


def differs_on_postgres(item: pytest.Item) -> bool:
    """By what a test asks for, so that nothing has to be listed: it reads or writes the run's database, or starts processes that do."""
    marks = {mark.name for mark in item.iter_markers()}
    if "postgres" in marks:
        return True
    database = "django_db" in marks or {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    return bool(database) and not marks & THE_SAME_ON_POSTGRES


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return
    left_out = [item for item in items if not differs_on_postgres(item)]
    items[:] = [item for item in items if differs_on_postgres(item)]
    config.hook.pytest_deselected(items=left_out)


# ---------------------------------------------------------------- the order


def unit_of(nodeid: str) -> str:
    """What one process runs as a whole: a file, or those whose tests share a server."""
    file = nodeid.split("::", 1)[0]
    if file in SHARED_BY_FILES:
        return SHARED_BY_FILES[file]
    return next((folder for folder in SHARED_SERVERS if file.startswith(folder)), file)


class LongestFirst(LoadScopeScheduling):
    """Else a long file that is begun last is waited for by all others."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def put_longest_first(items: list[pytest.Item]) -> None:
    """A file that was not measured may be long: it comes before all others."""
    units: Counter[str] = Counter()
    for file, seconds in json.loads(SECONDS.read_text()).items():
        units[unit_of(file)] += seconds
    items.sort(key=lambda item: -units.get(unit_of(item.nodeid), math.inf))


class Measurement:
    """What each file took, all its tests with their fixtures."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid.split("::", 1)[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        rounded = {file: round(seconds) for file, seconds in sorted(self.seconds.items())}
        SECONDS.write_text(json.dumps(rounded, indent=0) + "\n")
