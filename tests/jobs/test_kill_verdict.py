"""The kill matrix finds what it is there to find: one fault of each kind, and none where there is none."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from api.files.models import StoredFile
from api.jobs.models import Job, JobEnding
from api.jobs.worker.loop import WorkerLoop
from api.webhooks.models import Delivery
from benchmarks.kill_matrix.load import Load
from benchmarks.kill_matrix.verdict import judge
from benchmarks.webhooks import FaultyReceiver
from tests.files.conftest import store

pytestmark = pytest.mark.django_db(transaction=True)


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stored_names(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def sitting(submit: Any, settings: Any, tmp_path: Path) -> Any:
    """Three jobs that ended as they should, of which two have a picture, with their webhooks and an upload."""
    settings.MEDIA_ROOT = tmp_path
    receiver = FaultyReceiver(0, "whsec_" + "c2VjcmV0" * 4)
    load = Load("", receiver, lambda _: True)
    load.begun = {0, 1, 2}
    for number, kind in enumerate(("picture", "noop", "picture")):
        job = submit(kind, idempotency_key=f"job-{number}")
        load.accepted[f"job-{number}"] = {str(job.pk)}
        Delivery.objects.create(
            job_id=job.pk, owner_key="alice", url="http://x", event="completed", body="", status="delivered"
        )
        receiver.answered[f"/random/{number}"] = 1
        receiver.heard.append((f"/random/{number}", {"webhook-id": f"id-{number}"}, b""))
        WorkerLoop().run_once()
    load.uploads[str(store().pk)] = b""
    yield load, Disk(tmp_path), receiver
    receiver.server_close()


def test_each_kind_of_fault_is_found(sitting: Any) -> None:
    load, disk, receiver = sitting
    assert {name: faults for name, faults in judge(*sitting).items() if faults} == {}
    first, second, third = Job.objects.order_by("pk")
    [upload] = load.uploads
    load.uploads[str(uuid.uuid4())] = b""
    load.accepted["job-1"].add(str(uuid.uuid4()))
    JobEnding.objects.create(job_id=second.pk, kind="noop", owner_key="alice", status="succeeded", created_at=first.created_at)
    first.images.all().delete()
    Job.objects.filter(pk=third.pk).update(status="running", finished_at=None)
    receiver.heard.append(("/random/0", {"webhook-id": "another"}, b""))
    del receiver.answered["/random/1"]
    (disk.folder / StoredFile.objects.get(pk=upload).name).write_bytes(b"other bytes")
    faults = judge(*sitting)
    assert {name: len(found) for name, found in faults.items()} == {
        "lost": 3,  # two uploads: of one no row, of one other bytes; the job that has not ended
        "doubled": 4,  # a key with two ids, a job with two ends, a picture too few, one of a job that has not succeeded
        "stuck": 1,
        "webhooks": 2,
        "files": 1,
        "answers": 0,
        "failed": 0,
    }, faults
