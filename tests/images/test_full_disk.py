"""Below the floor of free space new work is refused, while there is still room to finish the old."""

from typing import Any

import pytest

from api.files.errors import DiskFull
from api.jobs.lifecycle import submit_job
from api.jobs.models import Job


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["txt2img", "img2img", "layout_score"])
def test_a_nearly_full_disk_refuses_new_jobs_and_keeps_no_row(kind: str, settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**62
    with pytest.raises(DiskFull) as refused:
        submit_job(kind=kind, params={"deterministic": True, "backend": "heuristic"}, owner_key="local")
    assert (refused.value.status, refused.value.code) == (507, "disk_full")
    assert not Job.objects.exists()
