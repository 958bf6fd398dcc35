"""Requests that are taken and not worked on, their uploads in a folder of the test's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.api.bodies import ASYNC


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def send(client: Client) -> Callable[..., Any]:
    """As JSON, without waiting for the result."""

    def request(path: str, body: dict[str, Any], method: str = "post") -> Any:
        return getattr(client, method)(path, body, content_type="application/json", headers=ASYNC)

    return request
