"""How tests ask for grids."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.images.grids.spec import GridSpec
from api.jobs.kinds import read_spec
from api.jobs.models import Job
from tests.api.bodies import ASYNC

CIRCLE = {"prompt": "a red circle above a blue square", "seed": 7}
NOBODYS = "0197c0de-0000-7000-8000-000000000000"
Post = Callable[..., Any]


@pytest.fixture
def post(client: Client, settings: Any, tmp_path: Any) -> Post:
    settings.MEDIA_ROOT = tmp_path / "media"

    def send(request: dict[str, Any], *axes: dict[str, Any], path: str = "/api/grids/", **fields: Any) -> Any:
        body = {"request": request, "axes": list(axes), **fields}
        return client.post(path, body, content_type="application/json", headers=ASYNC)

    return send


def axis(field: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "values": list(values), **more}


def spec_of_reply(reply: Any) -> GridSpec:
    assert reply.status_code == 202, reply.content
    spec = read_spec(Job.objects.get(pk=reply.json()["id"]))
    assert isinstance(spec, GridSpec)
    return spec


def refused(reply: Any) -> tuple[str, str]:
    """Field and detail of its only error."""
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    return error["field"], error["detail"]
