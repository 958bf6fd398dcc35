"""Servers with the starter's weights that several files share, in one process: tests/scheduling.py."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live import LiveServer


@pytest.fixture(scope="session")
def waiting_for_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Where a request doesn't say whether it waits for its job, it doesn't."""
    with LiveServer(tmp_path_factory.mktemp("dialects"), DATABASE_URL="", DEVICE="cpu", SYNC_WAIT_SECONDS=0) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


@dataclass
class TwoKeys:
    live: LiveServer
    owner: str
    other: str


@pytest.fixture(scope="session")
def with_two_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoKeys]:
    folder = tmp_path_factory.mktemp("two-keys")
    with LiveServer(folder / "data", DATABASE_URL="", DEVICE="cpu", MEDIA_ROOT=folder / "media") as live:
        owner, other = (live.manage("create_key", name).split()[-1] for name in ("owner", "other"))
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield TwoKeys(live, owner, other)
