"""`manage.py backup --keep N`: what goes, and what never does; and a bucket as the storage that is backed up and restored into."""

import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from api.files import storage
from api.files.models import StoredFile
from api.files.services import create_file
from api.jobs.models import Job
from api.system.backup import manifests, pruning
from tests.files.s3_server import BUCKET, client_of, options_of, s3_server
from tests.files.test_s3 import S3

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT, settings.DATA_DIR = tmp_path / "media", tmp_path / "data"
    settings.DATA_DIR.mkdir()


def make_file(color: int) -> StoredFile:
    """Of another content than the others."""
    from PIL import Image

    from api.files.decoding import encode_png

    image = Image.new("RGB", (16, 16), (8 * color, 40, 40))
    written = storage.write_image_files(encode_png(image), image, "png", purpose=storage.OUTPUT)
    return create_file(written, owner_key="local", purpose=storage.OUTPUT)


def back_up(target: Path, monkeypatch: pytest.MonkeyPatch, day: int, **options: Any) -> Path:
    """As on that day: two of one second would have one name."""

    class Day(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 1, day, tzinfo=UTC)

    monkeypatch.setattr(manifests, "datetime", Day)
    call_command("backup", str(target), **options)
    return target / f"202601{day:02}T000000Z"


def contents(target: Path) -> set[str]:
    return {path.name for path in (target / "media").rglob("*") if path.is_file()}


def test_old_backups_go_with_what_they_alone_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    target = tmp_path / "backups"
    with pytest.raises(CommandError, match="--keep: at least 1"):
        call_command("backup", str(target), keep=-1)
    first, second = make_file(10), make_file(20)
    oldest = back_up(target, monkeypatch, 1)
    StoredFile.objects.filter(pk=first.pk).delete()
    kept = back_up(target, monkeypatch, 2)
    (target / "media" / "ab").mkdir(exist_ok=True)
    (target / "media" / "ab" / ("ab" * 32 + ".part")).write_bytes(b"half")
    (target / "media" / "ab" / "notes").write_text("somebody's")
    third = make_file(30)
    newest = back_up(target, monkeypatch, 3, keep=2)
    assert "1 older backups removed, and 3 files" in capsys.readouterr().out  # picture, thumbnail, and the half
    assert not oldest.exists()
    assert {second.sha256, third.sha256, "notes"} < contents(target)
    assert first.sha256 not in contents(target)
    for folder in (kept, newest):
        call_command("restore", str(folder), replace=True)
    assert {file.sha256 for file in StoredFile.objects.all()} == {second.sha256, third.sha256}


def test_what_only_an_old_backup_has_is_kept(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The storage has lost a file, or the server its history, and backups go on by themselves."""
    target = tmp_path / "backups"
    lost, other = make_file(10), make_file(20)
    back_up(target, monkeypatch, 1)
    (settings.MEDIA_ROOT / lost.name).unlink()
    back_up(target, monkeypatch, 2, keep=1)
    call_command("restore", str(target), replace=True)
    assert storage.file_exists(lost.name)

    full = back_up(target, monkeypatch, 3, keep=1)
    assert [folder.name for folder in manifests.whole_backups(target)] == [full.name]
    StoredFile.objects.all().delete()
    back_up(target, monkeypatch, 4, keep=1)
    assert f"{full.name} stays: it has 2 pictures, the newest 0" in capsys.readouterr().err
    call_command("restore", str(full), replace=True)
    assert set(StoredFile.objects.all()) == {lost, other}
    (full / "manifest.json").write_text("cut")
    back_up(target, monkeypatch, 5, keep=1)
    assert "manifest.json can't be read" in capsys.readouterr().err
    (full / "files.jsonl.gz").write_bytes(b"cut")
    with pytest.raises(CommandError, match=r"The backup was made\. No files were removed"):
        back_up(target, monkeypatch, 6, keep=1)
    assert {lost.sha256, other.sha256} < contents(target)


def test_pruning_that_is_stopped_is_done_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "backups"
    first = make_file(10)
    back_up(target, monkeypatch, 1)
    StoredFile.objects.filter(pk=first.pk).delete()
    make_file(20)
    real = Path.rmdir

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rmdir", stop)
    with pytest.raises(CommandError, match="Stopped"):
        back_up(target, monkeypatch, 2, keep=1)
    monkeypatch.setattr(Path, "rmdir", real)
    newest = back_up(target, monkeypatch, 3, keep=1)
    assert [path.name for path in target.glob("2026*")] == [newest.name]
    assert first.sha256 not in contents(target)
    shutil.rmtree(newest)
    assert pruning.without_backup(target, []) != []  # contents of a folder that somebody removed


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with s3_server() as proxy:
        yield proxy


def use_bucket(settings: Any, server: Any, location: str) -> None:
    table = {"BACKEND": S3, "OPTIONS": options_of(server, location=location, page_size=2)}
    settings.STORAGES = {**settings.STORAGES, "default": table}
    storage.read_thumbnail.cache_clear()


def objects(server: Any, location: str) -> dict[str, str]:
    found = client_of(server).list_objects_v2(Bucket=BUCKET, Prefix=f"{location}/").get("Contents", [])
    read = {one["Key"]: client_of(server).get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}
    return {key.removeprefix(f"{location}/"): hashlib.sha256(data).hexdigest() for key, data in read.items()}


def test_a_bucket_is_backed_up_and_restored_into_another_one(
    tmp_path: Path, settings: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backups"
    use_bucket(settings, server, "before")
    files = [make_file(color) for color in (10, 20, 30)]
    folder = back_up(target, monkeypatch, 1)
    before = objects(server, "before")
    assert len(before) == 6
    assert set(before.values()) == contents(target)
    StoredFile.objects.filter(pk=files[0].pk).delete()
    use_bucket(settings, server, "after")
    call_command("restore", str(folder), replace=True)
    assert objects(server, "after") == before
    assert [storage.read_bytes(file.name)[1:4] for file in StoredFile.objects.all()] == [b"PNG"] * 3
    assert not Job.objects.exists()
