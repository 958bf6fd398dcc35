"""`manage.py backup` while others write, and `manage.py restore` into a server of its own; and each thing that can be wrong with either."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from api.access.services import create_key
from api.files import durable
from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.jobs import kinds, lifecycle
from api.jobs.models import Job, Worker
from api.system.backup import media as backup_media
from api.system.backup import postgres
from api.system.backup.errors import BackupError
from tests.jobs.conftest import TESTING_SETTINGS, database_url
from tests.jobs.kinds_app.kinds import KINDS
from tests.live import ROOT, LiveServer
from tests.migrating import migrated_back
from tests.rows import make_picture, spec_of

pytestmark = pytest.mark.django_db(transaction=True)
IS_POSTGRES = connection.vendor == "postgresql"
FRESH = "restored_here"


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIA_ROOT, settings.DATA_DIR = tmp_path / "media", tmp_path / "data"
    settings.DATA_DIR.mkdir()
    monkeypatch.setattr(kinds, "_kinds", {**kinds._kinds, **{kind.name: kind for kind in KINDS}})


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """The address of one without tables; SQLite's is in the data folder."""
    if not IS_POSTGRES:
        yield ""
        return
    server, name = database_url().rsplit("/", 1)
    with psycopg.connect(f"{server}/{name}", autocommit=True) as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {FRESH} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {FRESH} TEMPLATE template0")
        yield f"{server}/{FRESH}"
        cursor.execute(f"DROP DATABASE {FRESH} WITH (FORCE)")


class Writers:
    """Threads that make pictures and queue jobs until the end of `with`."""

    def __enter__(self) -> "Writers":
        self.ended, self.made = threading.Event(), 0
        self.threads = [threading.Thread(target=self.write) for _ in range(2)]
        for thread in self.threads:
            thread.start()
        while self.made < 10:
            self.ended.wait(0.01)
        return self

    def write(self) -> None:
        while not self.ended.is_set():
            with transaction.atomic():  # as a worker writes them
                make_picture()
            lifecycle.submit_job(spec=spec_of("noop"), owner_key="local")
            self.made += 1
        connection.close()

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def restore(folder: Path, data: Path, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(data), "DATABASE_URL": address, "DJANGO_SETTINGS_MODULE": TESTING_SETTINGS}
    command = [sys.executable, "manage.py", "restore", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def newest(target: Path) -> Path:
    return max(target.glob("2*Z"))


def test_what_is_backed_up_under_load_is_a_whole_server_again(tmp_path: Path, settings: Any, empty_database: str) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # as the server has it
    User.objects.create_superuser("admin", password="a good password")
    Client().force_login(User.objects.get())
    target, data = tmp_path / "backups", tmp_path / "fresh"
    with Writers() as writers:
        before = writers.made
        call_command("backup", str(target))
        during = writers.made - before
    assert during >= 1  # or nobody wrote meanwhile
    history = {str(pk): status for pk, status in Job.objects.values_list("pk", "status")}
    kept = {line[0]: line[1] for line in backup_media.read_lines(newest(target) / "files.jsonl.gz")}
    assert all(sha256 for files in kept.values() for _, sha256, _ in files)  # of each row its files
    assert 0 < len(kept) < StoredFile.objects.count() + 1

    done = restore(target, data, empty_database)
    assert done.returncode == 0, done.stderr
    again = restore(target, data, empty_database)
    assert "The database is not empty: it has" in again.stderr

    with LiveServer(data, DATABASE_URL=empty_database, DJANGO_SETTINGS_MODULE=TESTING_SETTINGS) as server:
        jobs, place = {}, "/api/jobs/?limit=100"
        while place:
            page = server.client.get(place).json()
            jobs.update({job["id"]: job for job in page["results"]})
            place = page["next"]
        assert set(jobs) <= set(history)
        pictures = [job for job in jobs.values() if job["kind"] == "txt2img"]
        assert len(pictures) == len(kept)
        assert {job["status"] for job in pictures} == {"succeeded"}
        for picture in (pictures[0], pictures[-1]):
            identifier = picture["result"]["images"][0]["id"]
            assert server.client.get(f"/api/images/{identifier}/file/").content[1:4] == b"PNG"
            assert server.client.get(f"/api/images/{identifier}/thumbnail/").status_code == 200
        waiting = [job["id"] for job in jobs.values() if job["kind"] == "noop"]
        assert waiting
        server.wait_until(lambda: server.client.get(f"/api/jobs/{waiting[0]}/").json()["status"] == "succeeded", "it has run")
        page = server.client.get("/admin/login/")
        form = {"username": "admin", "password": "a good password", "csrfmiddlewaretoken": server.client.cookies["csrftoken"]}
        assert page.status_code == 200
        assert server.client.post("/admin/login/?next=/admin/", data=form).headers["Location"] == "/admin/"
    assert Session.objects.exists()
    assert b"django_session" in (newest(target) / ("database.dump" if IS_POSTGRES else "database.sqlite3")).read_bytes()


def test_the_next_backup_copies_what_is_new_and_replaces_what_is_there(tmp_path: Path, settings: Any, capsys: Any) -> None:
    target = tmp_path / "backups"
    first = make_picture()
    call_command("backup", str(target))
    # An earlier backup of the same second would have its name.
    newest(target).rename(target / "20200101T000000Z")
    second = make_picture()
    capsys.readouterr()
    call_command("backup", str(target))
    # Both pictures are the same, and so are both thumbnails.
    assert "2 of 2 pictures: 0 files copied (0.0 kB), 4 there already" in capsys.readouterr().out
    manifest = json.loads((newest(target) / "manifest.json").read_text())
    assert manifest["pictures"] == 2
    assert len([path for path in (target / "media").rglob("*") if path.is_file()]) == 2

    GeneratedImage.objects.get(pk=first.pk).file.delete()
    third = make_picture()
    with pytest.raises(CommandError, match="The database is not empty: it has"):
        call_command("restore", str(target))
    call_command("restore", str(target), replace=True)
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {first.pk, second.pk}
    assert (settings.MEDIA_ROOT / first.file.name).is_file()
    assert third.pk not in set(GeneratedImage.objects.values_list("pk", flat=True))
    call_command("restore", str(target / "20200101T000000Z"), replace=True)
    assert StoredFile.objects.get().pk == first.pk


def test_what_is_wrong_with_the_pictures_is_told(tmp_path: Path, settings: Any, capsys: Any, monkeypatch: Any) -> None:
    target, real = tmp_path / "backups", backup_media.keep
    missing, damaged, deleted, good = (make_picture() for _ in range(4))
    (settings.MEDIA_ROOT / missing.file.name).unlink()
    (settings.MEDIA_ROOT / damaged.file.name).write_bytes(b"something else")

    def keep_after_deletion(place: Any, name: str, sha256: str) -> Any:
        if name == deleted.file.name:
            StoredFile.objects.get(pk=deleted.pk).delete()
            connection.close()
        return real(place, name, "" if name == deleted.file.name else sha256)

    monkeypatch.setattr(backup_media, "THREADS", 1)
    monkeypatch.setattr(backup_media, "keep", keep_after_deletion)
    monkeypatch.setattr(backup_media, "names_of", lambda row, known: ((name, "") for name in row[1:3]))
    call_command("backup", str(target))
    said = capsys.readouterr().err
    assert f"2 files were deleted while the backup was made, and are not in it: {deleted.file.name}" in said
    assert f"1 files are named by rows and gone from the storage; `manage.py doctor` lists them: {missing.file.name}." in said
    call_command("restore", str(target), replace=True)
    assert "2 pictures had no file in the backup; their rows were removed" in capsys.readouterr().err
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {damaged.pk, good.pk}
    assert (settings.MEDIA_ROOT / damaged.file.name).read_bytes() == b"something else"


def test_a_backup_that_is_stopped_is_none_and_the_next_goes_on(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    target, real = tmp_path / "backups", durable.write_durably
    make_picture()

    def write_until_full(path: Path, content: Any) -> None:
        if list(path.parents[1].glob("*/*")):
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(durable, "write_durably", write_until_full)
    monkeypatch.setattr(backup_media, "THREADS", 1)
    with pytest.raises(CommandError, match=r"The disk is full: .*backups has no room for the next file. Free some space. Run"):
        call_command("backup", str(target))
    with pytest.raises(CommandError, match=r"no whole backup\. There are only parts of one that was stopped"):
        call_command("restore", str(target), replace=True)
    monkeypatch.setattr(durable, "write_durably", real)
    monkeypatch.setattr(backup_media, "copy", stop)
    with pytest.raises(CommandError, match=r"Stopped\. Run the command again: what was copied is not copied twice"):
        call_command("backup", str(target))
    monkeypatch.undo()
    call_command("backup", str(target))
    assert "1 of 1 pictures: 1 files copied (" in capsys.readouterr().out
    assert not list(target.glob("*.part"))


def stop(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_a_restore_that_can_not_be_whole_changes_nothing(tmp_path: Path, settings: Any, monkeypatch: Any) -> None:
    target = tmp_path / "backups"
    make_picture()
    call_command("backup", str(target))
    folder = newest(target)
    job = lifecycle.submit_job(spec=spec_of("noop"), owner_key="local")

    def refused(words: str) -> None:
        with pytest.raises(CommandError, match=words):
            call_command("restore", str(target), replace=True)
        assert Job.objects.filter(pk=job.pk).exists()

    for path in (folder / "files.jsonl.gz", *folder.glob("database.*")):
        for change, words in (
            (lambda data: data[:-20], "was cut or changed"),
            (flip, "was cut or changed"),
            (None, "is missing"),
        ):
            data = path.read_bytes()
            path.unlink()
            if change:
                path.write_bytes(change(data))
            refused(
                f"{path.name} {'is missing' if change is None else 'is not what was written: it'} ?{words if change else ''}"
            )
            path.write_bytes(data)
    shutil.rmtree(settings.MEDIA_ROOT)
    content = next(path for path in (target / "media").rglob("*") if path.is_file())
    data = content.read_bytes()
    content.write_bytes(flip(data))
    refused(f"Of the backup's files 1 are not what was written: cut or changed: .*{content.name}.*The database was not changed")
    content.unlink()
    refused(f"Of the backup's files 1 are missing: .*{content.name}")
    content.write_bytes(data)

    manifest = json.loads((folder / "manifest.json").read_text())
    for wrong, words in (
        ({"migrations": {**manifest["migrations"], "jobs": ["9999_newer"]}}, "made by a newer Darkroom .* jobs.9999_newer"),
        ({"database": "postgresql" if not IS_POSTGRES else "sqlite"}, "This is a backup of .*, and DATABASE_URL names"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **wrong}))
        refused(words)
    (folder / "manifest.json").write_text(json.dumps(manifest)[:-30])
    refused("manifest.json can't be read: it was cut or changed")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    worker = Worker.objects.create(hostname="here", pid=1)
    refused("The worker here:1 uses this database. Stop the server")
    worker.delete()
    call_command("restore", str(target), replace=True)
    assert not Job.objects.filter(pk=job.pk).exists()


def flip(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def test_an_older_backup_is_migrated_and_a_stopped_restore_goes_on(tmp_path: Path, settings: Any, monkeypatch: Any) -> None:
    target, (key, _) = tmp_path / "backups", create_key(name="a key")
    with migrated_back("jobs", "0007_webhooks"):
        call_command("backup", str(target))
    monkeypatch.setattr("api.system.backup.restoring.call_command", stop)
    with pytest.raises(CommandError, match="Stopped"):
        call_command("restore", str(target), replace=True)
    monkeypatch.undo()
    settings.DATA_DIR = tmp_path / "data"
    call_command("restore", str(target))  # it has begun here, and goes on without --replace
    assert type(key).objects.get().pk == key.pk
    call_command("migrate", "--check", verbosity=0)


def test_a_target_that_is_a_file_is_named() -> None:
    with pytest.raises(CommandError, match=r"^TARGET: /etc/hostname is a file\. Name a folder\.$"):
        call_command("backup", "/etc/hostname")


@pytest.mark.skipif(not IS_POSTGRES, reason="on PostgreSQL only")
def test_programs_of_postgresql_that_do_not_fit_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    server = connection.pg_version // 10000
    cure = f"apt-get install postgresql-client-{server}"
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    for found, words in (([], "pg_dump is not installed"), ([str(old)], "is of version 9, older than the server's")):
        monkeypatch.setattr(postgres, "programs", lambda name, found=found: found)
        with pytest.raises(CommandError, match=f"{words}.*{cure}"):
            call_command("backup", str(tmp_path / "backups"))
    assert isinstance(postgres.failure("psql", "psql: error: something"), BackupError)
