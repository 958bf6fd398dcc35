"""Requests that say where they come from, and a view that says whom it saw."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory

from api.access.services import create_key

Make = Callable[..., Any]


@pytest.fixture
def make_request() -> Make:
    """A request from 203.0.113.9 unless `peer` is given; headers by their names."""

    def make(
        method: str = "GET", *, peer: str = "203.0.113.9", headers: dict[str, str] | None = None, host: str = "localhost:8000"
    ) -> Any:
        request = RequestFactory(headers={"Host": host, **(headers or {})}).generic(method, "/api/jobs/")
        request.META["REMOTE_ADDR"] = peer
        return request

    return make


@pytest.fixture
def token(db: None) -> str:
    return create_key(name="a client")[1]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str, name: str = "anyone") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{token}'.encode()).decode()}"}
