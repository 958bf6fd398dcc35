"""After a crash files and rows are brought together again, and nothing else is touched."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from api.files.models import StoredFile
from api.files.services import attach_inputs, resolve_image, store_upload
from api.files.storage import UPLOAD, write_file, write_image_files
from api.files.sweep import SweepReport, database_began, missing_files, sweep_orphans
from api.jobs.models import Job
from api.system.maintenance import tell
from tests.files.conftest import OWNER, encode, files_below, picture, store

pytestmark = pytest.mark.django_db(transaction=True)
DATA = encode(picture())


def make_old(media: Path, *, hours: float = 2) -> None:
    moment = time.time() - hours * 3600
    for name in files_below(media):
        os.utime(media / name, (moment, moment))


@pytest.fixture(autouse=True)
def database_of_last_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.files.sweep.database_began", lambda: timezone.now() - timedelta(days=365))


def use_before(file: StoredFile, **span: Any) -> None:
    StoredFile.objects.filter(pk=file.pk).update(used_at=timezone.now() - timedelta(**span))


def test_where_all_is_well_nothing_happens(media: Path) -> None:
    store()
    store_upload(owner_key=OWNER, data=DATA)
    make_old(media)
    assert sweep_orphans() == SweepReport()
    assert len(files_below(media)) == 4


def test_without_a_media_folder_nothing_happens() -> None:
    assert sweep_orphans() == SweepReport()


def test_files_that_never_got_a_row_go(media: Path) -> None:
    kept = store()
    write_image_files(DATA, picture(), "png")
    write_image_files(DATA, picture(), "jpeg", purpose=UPLOAD)
    make_old(media)
    assert sweep_orphans() == SweepReport(files=4)
    assert files_below(media) == sorted([kept.name, kept.thumbnail_name or ""])


def test_files_older_than_the_database_are_another_databases(
    media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is moved to PostgreSQL, or told of a wrong database, keeps the pictures of the one before."""
    monkeypatch.setattr("api.files.sweep.database_began", database_began)
    write_image_files(DATA, picture(), "png")
    make_old(media, hours=24 * 400)
    write_image_files(DATA, picture(), "png")
    assert sweep_orphans(timedelta(seconds=-1)) == SweepReport(files=2, foreign=2)
    for _ in range(2):
        tell(sweep_orphans(timedelta(seconds=-1)))
    assert caplog.text.count("2 files in the storage of pictures are older than this database") == 1
    assert len(files_below(media)) == 2


def test_a_file_of_the_last_hour_may_still_get_its_row(media: Path) -> None:
    write_image_files(DATA, picture(), "png")
    make_old(media, hours=0.9)
    assert sweep_orphans() == SweepReport()


def test_halves_of_files_go(media: Path) -> None:
    store()
    name = write_file("output/2026/11/21", b"half", ".png")
    (media / name).rename(media / f"{name}.part")
    make_old(media)
    assert sweep_orphans() == SweepReport(parts=1)
    assert len(files_below(media)) == 2


@pytest.mark.parametrize(
    "name",
    [
        "mine.png",
        "output/mine.png",
        "output/2026/11/21/holiday.png",
        "models/2026/11/21/0197c0de-0000-7000-8000-000000000000.png",
    ],
)
def test_what_somebody_else_put_there_stays(media: Path, name: str) -> None:
    (media / name).parent.mkdir(parents=True)
    (media / name).write_bytes(b"precious")
    make_old(media)
    sweep_orphans()
    assert files_below(media) == [name]


def test_more_files_than_one_batch_are_swept(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.files.sweep.BATCH", 3)
    kept = [store(colour=number) for number in range(3)]
    for _ in range(4):
        write_image_files(DATA, picture(), "png")
    make_old(media)
    assert sweep_orphans().files == 8
    assert len(files_below(media)) == 2 * len(kept)


def test_an_upload_that_no_job_used_for_a_day_goes(media: Path) -> None:
    use_before(store_upload(owner_key=OWNER, data=DATA), hours=25)
    assert sweep_orphans() == SweepReport(uploads=1)
    assert files_below(media) == []


def test_an_upload_of_today_stays() -> None:
    use_before(store_upload(owner_key=OWNER, data=DATA), hours=23)
    assert sweep_orphans() == SweepReport()


def test_an_upload_that_a_job_uses_stays() -> None:
    file = store_upload(owner_key=OWNER, data=DATA)
    attach_inputs(Job.objects.create(kind="img2img", owner_key=OWNER), [file])
    use_before(file, days=400)
    assert sweep_orphans() == SweepReport()


def test_naming_an_upload_keeps_it_for_another_day() -> None:
    file = store_upload(owner_key=OWNER, data=DATA)
    use_before(file, days=2)
    resolve_image(owner_key=OWNER, value=str(file.pk))
    assert sweep_orphans() == SweepReport()


def test_sending_an_upload_again_keeps_it_for_another_day() -> None:
    use_before(store_upload(owner_key=OWNER, data=DATA), days=2)
    store_upload(owner_key=OWNER, data=DATA)
    assert sweep_orphans() == SweepReport()


def test_a_picture_made_here_is_never_swept() -> None:
    use_before(store(), days=400)
    assert sweep_orphans() == SweepReport()


def test_a_row_whose_file_is_gone_is_told_and_kept(media: Path) -> None:
    file, _ = store(), store(colour=3)
    (media / file.name).unlink()
    sweep_orphans()
    assert list(missing_files()) == [file]


def test_the_sweep_can_be_told_to_look_at_the_last_days_only(media: Path) -> None:
    write_file("output/2026/01/31", b"old", ".png")
    write_image_files(DATA, picture(), "png")
    make_old(media)
    assert sweep_orphans(days=1) == SweepReport(files=2)
    assert sweep_orphans() == SweepReport(files=1)
