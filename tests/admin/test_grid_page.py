"""A grid's page in the admin: its picture, and the cells behind it."""

from typing import Any

import pytest
from django.test import Client

from api.images.grids.spec import GridAxis, GridSpec
from api.jobs.models import Job
from tests.rows import PARAMS, make_job, make_picture

pytestmark = pytest.mark.django_db


@pytest.fixture
def grid() -> Job:
    first = {**PARAMS, "model_id": "starter"}
    spec = GridSpec(
        request={"prompt": "a lake"},  # type: ignore[arg-type]
        axes=(GridAxis(field="seed", values=(42, 43)),),
        cells=(first, {"seed": 43}),  # type: ignore[arg-type]
    )
    return make_job("running", kind="grid", params=spec.to_json())


def page(admin_client: Client, job: Job) -> str:
    return admin_client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()


def test_shows_each_cell_with_its_job_as_soon_as_it_is_asked_for(admin_client: Client, grid: Job) -> None:
    assert "Cells" not in page(admin_client, grid)
    made, waiting = make_job(parent=grid), make_job("queued", parent=grid)
    picture = make_picture(made)
    shown = page(admin_client, grid)
    assert f"/api/images/{picture.pk}/thumbnail/" in shown
    for child in (made, waiting):
        assert f"/admin/jobs/job/{child.pk}/change/" in shown
    assert "queued" in shown


def test_shows_the_picture_without_a_seed(admin_client: Client, grid: Job) -> None:
    child: Any = make_job(parent=grid)
    make_job(parent=grid)
    picture = make_picture(child)
    grid.status = "succeeded"
    grid.result = {"images": [{"id": str(picture.pk), "width": 16, "height": 16}], "cells": []}
    grid.save()
    shown = page(admin_client, grid)
    assert "16 × 16" in shown
    assert "seed None" not in shown
