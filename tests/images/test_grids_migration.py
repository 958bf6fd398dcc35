"""Pictures of grids that were made before they had an origin of their own."""

import pytest

from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.migrating import migrated_back
from tests.rows import make_picture

BEFORE = "0003_presets"


@pytest.mark.django_db(transaction=True)
def test_they_are_called_grids_and_nothing_else_is() -> None:
    grid, annotated, generated = make_picture(), make_picture(), make_picture()
    Job.objects.filter(pk=grid.job_id).update(kind="grid")
    GeneratedImage.objects.filter(pk__in=[grid.pk, annotated.pk]).update(origin="annotated")
    with migrated_back("images", BEFORE):
        pass
    origins = dict(GeneratedImage.objects.values_list("pk", "origin"))
    assert origins == {grid.pk: "grid", annotated.pk: "annotated", generated.pk: "generated"}
    with migrated_back("images", BEFORE) as then:
        assert then.get_model("images", "GeneratedImage").objects.get(pk=grid.pk).origin == "annotated"
