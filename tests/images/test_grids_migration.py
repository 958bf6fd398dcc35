"""Pictures of grids that were made before they had an origin of their own."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.rows import make_picture

BEFORE, AFTER = [("images", "0003_presets")], [("images", "0004_grids")]


def migrate(to: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(to)


@pytest.mark.django_db(transaction=True)
def test_they_are_called_grids_and_nothing_else_is() -> None:
    grid, annotated, generated = make_picture(), make_picture(), make_picture()
    Job.objects.filter(pk=grid.job_id).update(kind="grid")
    GeneratedImage.objects.filter(pk__in=[grid.pk, annotated.pk]).update(origin="annotated")
    migrate(BEFORE)
    migrate(AFTER)
    origins = dict(GeneratedImage.objects.values_list("pk", "origin"))
    assert origins == {grid.pk: "grid", annotated.pk: "annotated", generated.pk: "generated"}
    migrate(BEFORE)
    assert GeneratedImage.objects.get(pk=grid.pk).origin == "annotated"
    migrate(AFTER)
