from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.downloads.store import ModelStore
from tests.models.hub_server import HubServer


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer().running() as server:
        yield server


@pytest.fixture
def store(hub: HubServer, tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", endpoint=hub.endpoint, timeout=5, retry_seconds=0.01)
