"""Old jobs go in slices, with their files, children and conversations; what something else needs stays, and so does what a stop leaves."""

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import CASCADE
from django.db.models.signals import post_delete, pre_delete

from api.chat.models import Conversation, Message
from api.files.models import JobInput, StoredFile
from api.images.models import GeneratedImage, ImageSource
from api.jobs.models import Job, Worker
from api.jobs.store import deletion_slices as slicing
from api.jobs.store.deletion import foreign_keys_to
from api.jobs.store.deletion_slices import Slices
from api.jobs.worker.retention import clean_history, delete_old_jobs
from api.scoring.models import LayoutScore, Rating
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.MEDIA_ROOT, settings.JOB_RETENTION_DAYS = tmp_path / "media", 30
    for name in ("LEAST", "FIRST", "MOST"):
        monkeypatch.setattr(slicing, name, 3)
    return settings.MEDIA_ROOT


def files(media: Path) -> int:
    return sum(path.is_file() for path in media.rglob("*"))


def say(job: Job, conversation: Conversation, position: int) -> Message:
    return Message.objects.create(conversation=conversation, job=job, position=position, role="user", parts=[], text="a lake")


def test_old_jobs_go_with_what_is_theirs_and_nothing_else(folders: Path) -> None:
    old = [make_picture() for _ in range(7)]
    needed, source = make_picture(), make_picture()
    grid = make_job(kind="grid")
    cells = [make_picture(make_job(parent=grid, owner_key="local")) for _ in range(5)]
    held = make_job(kind="grid")
    held_cells = [make_picture(make_job(parent=held, owner_key="local")) for _ in range(4)]
    whole, partly = Conversation.objects.create(owner_key="local"), Conversation.objects.create(owner_key="local")
    say(make_job(kind="chat"), whole, 0)
    first = say(make_job(kind="chat"), partly, 0)
    worker = Worker.objects.create(hostname="here", pid=1, state=Worker.State.STOPPED)
    Job.objects.update(created_at=LONG_AGO)
    Worker.objects.update(heartbeat_at=LONG_AGO)

    derived = make_picture(source=source)
    say(make_job(kind="chat", worker=worker), partly, 1)
    waiting = make_job("queued")
    JobInput.objects.create(job=waiting, file=needed.file)
    JobInput.objects.create(job=waiting, file=held_cells[0].file)
    retry = make_job(retry_of=old[0].job)
    clean_history()
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {needed.pk, held_cells[0].pk, derived.pk}
    assert files(folders) == 6
    assert Job.objects.filter(pk=held.pk).exists()
    assert not Job.objects.filter(pk__in=[grid.pk, *(cell.job_id for cell in cells)]).exists()
    assert list(Conversation.objects.all()) == [partly]
    assert not Message.objects.filter(pk=first.pk).exists()
    assert not ImageSource.objects.exists()
    assert Job.objects.get(pk=retry.pk).retry_of is None
    assert not Worker.objects.exists()
    Job.objects.filter(pk=waiting.pk).update(status="succeeded")
    clean_history()
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {derived.pk}


def test_what_no_job_made_follows_its_last_job(folders: Path) -> None:
    """An upload and an overlay go with the job; a conversation whose active branch went goes on with another one."""
    old, new = make_job(kind="chat"), make_job(kind="chat")
    upload, shared, overlay = make_picture().file, make_picture().file, make_picture().file
    GeneratedImage.objects.all()._raw_delete("default")
    verdict = LayoutScore.objects.create(job=old, index=0, overlay=overlay, backend="", model="", device="", duration=0)
    Rating.objects.create(owner_key="local", layout=verdict, stars=3)
    for file in (upload, shared):
        JobInput.objects.create(job=old, file=file)
    JobInput.objects.create(job=new, file=shared)
    StoredFile.objects.exclude(pk=overlay.pk).update(purpose="upload", used_at=LONG_AGO)
    talk = Conversation.objects.create(owner_key="local", digest="old")
    other = Message.objects.create(conversation=talk, job=new, position=0, role="user", parts=[], text="a sea", active=False)
    say(old, talk, 0)
    Job.objects.exclude(pk=new.pk).update(created_at=LONG_AGO)
    clean_history()
    assert list(StoredFile.objects.all()) == [shared]
    assert files(folders) == 2
    assert not LayoutScore.objects.exists()
    assert not Rating.objects.exists()
    assert Message.objects.get().pk == other.pk
    assert Message.objects.get().active
    assert Conversation.objects.get().digest != "old"


def test_who_listens_to_deletions_is_told_by_retention_in_another_way() -> None:
    """It sends no post_delete: another listener of a table that goes with jobs has to listen to `jobs_leaving`, too."""
    tables, seen = {Job, StoredFile, Conversation}, set[Any]()
    while tables - seen:
        model = (tables - seen).pop()
        seen.add(model)
        tables |= {key.model for key in foreign_keys_to(model) if key.remote_field.on_delete is CASCADE}
    listening = {model.__name__ for model in seen if post_delete.has_listeners(model) or pre_delete.has_listeners(model)}
    assert listening == {"StoredFile", "JobInput", "GeneratedImage", "Message", "LayoutScore", "Rating"}


def test_it_stops_between_two_slices_and_goes_on(folders: Path) -> None:
    for _ in range(8):
        make_picture()
    Job.objects.update(created_at=LONG_AGO)
    stopped = Slices(lambda: stopped.count >= 3)
    delete_old_jobs(stopped)
    assert (Job.objects.count(), files(folders)) == (5, 10)
    clean_history(lambda: True)
    assert Job.objects.count() == 5
    clean_history()
    assert (Job.objects.count(), files(folders)) == (0, 0)


def test_a_row_that_can_not_go_now_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing.time, "sleep", lambda seconds: None)
    jobs = [make_job() for _ in range(5)]
    Job.objects.update(created_at=LONG_AGO)
    real = slicing.Slices.delete_at_once

    def refer_to_one(self: Slices, keys: Any, delete: Any) -> None:
        """As a retry of it that another process submits just now."""
        if jobs[2].pk in keys:
            raise IntegrityError
        real(self, keys, delete)

    monkeypatch.setattr(slicing.Slices, "delete_at_once", refer_to_one)
    clean_history()
    assert list(Job.objects.all()) == [jobs[2]]
