"""`manage.py move_media`: from a folder to a bucket and back, stopped and begun again, while both are read; and settings that are wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from api.files import moving
from api.files.models import StoredFile
from api.files.moving import MARK, MoveReport
from api.files.services import read_file
from api.files.sweep import missing_files
from api.system.diagnosis import examine_storage
from api.system.media_checks import media_storage_messages
from config.media import DISK, S3
from tests.files.conftest import files_below, store
from tests.files.s3_server import Proxy, client_of, names_in, options_of, s3_server
from tests.live import ROOT, free_port
from tests.plain_install import plain_environment
from tests.rows import make_picture

TABLES = {"disk": {"BACKEND": DISK, "OPTIONS": {}}}


@pytest.fixture(scope="module")
def server() -> Iterator[Proxy]:
    with s3_server() as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def empty_bucket(server: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    server.fail("", 0)
    for name in names_in(server):
        client_of(server).delete_object(Bucket="pictures", Key=name)
    monkeypatch.setattr(moving, "BATCH", 2)
    return server


def use(settings: Any, server: Proxy, default: str, before: str = "") -> None:
    tables = {**TABLES, "s3": {"BACKEND": S3, "OPTIONS": options_of(server)}}
    settings.STORAGES = {
        "staticfiles": settings.STORAGES["staticfiles"],
        "default": tables[default],
        **({"before": tables[before]} if before else {}),
    }


def contents() -> dict[str, bytes]:
    return {str(file.pk): read_file(file) for file in StoredFile.objects.all()}


@pytest.mark.django_db(transaction=True)
def test_files_move_to_a_bucket_and_back(server: Proxy, settings: Any, media: Path, client: Client) -> None:
    made = [make_picture() for _ in range(5)]
    kept, on_disk = contents(), files_below(media)
    use(settings, server, "s3", before="disk")
    assert contents() == kept  # read where they were
    assert client.get(f"/api/images/{made[0].pk}/thumbnail/").status_code == 200
    made.append(make_picture())
    assert len(names_in(server)) == 2  # and written where they go

    calls: list[int] = []
    real = moving.copy

    def copy_until_away(*arguments: Any) -> int:
        calls.append(1)
        server.fail("503" if len(calls) > 5 else "", 99)
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "copy", copy_until_away)
        patch.setattr(moving, "THREADS", 1)
        with pytest.raises(CommandError, match=r"does not answer.*Run the command again to go on"):
            call_command("move_media")
    server.fail("", 0)
    assert (settings.DATA_DIR / MARK).exists()
    server.seen.clear()
    call_command("move_media")
    assert not any(made[0].file.name in path for _, path, _ in server.seen)  # it goes on where it stopped
    assert not (settings.DATA_DIR / MARK).exists()
    assert len(names_in(server)) == 12
    assert files_below(media) == on_disk  # nothing is removed unasked
    call_command("move_media", delete_source=True)
    assert files_below(media) == []
    use(settings, server, "s3")
    assert contents() == {**kept, str(made[-1].file_id): read_file(made[-1].file)}

    use(settings, server, "disk", before="s3")
    call_command("move_media", delete_source=True)
    assert names_in(server) == []
    use(settings, server, "disk")
    assert {name: contents()[name] for name in kept} == kept
    assert list(missing_files()) == []


@pytest.mark.django_db(transaction=True)
def test_what_can_not_be_moved_is_named_and_stays(server: Proxy, settings: Any, media: Path) -> None:
    good, damaged, missing = store(colour=(1, 2, 3)), store(), store()
    (media / damaged.name).write_bytes(b"something else")
    (media / missing.name).unlink()
    use(settings, server, "s3", before="disk")
    with pytest.raises(CommandError) as error:
        call_command("move_media", delete_source=True)
    assert f"1 files are in neither storage: {missing.name}." in str(error.value)
    assert f"1 files are not what their row says: {damaged.name}." in str(error.value)
    assert (media / damaged.name).exists()
    assert good.name in names_in(server)
    StoredFile.objects.exclude(pk=good.pk).delete()
    assert files_below(media) == []
    call_command("move_media", delete_source=True)


@pytest.mark.django_db(transaction=True)
def test_a_picture_deleted_while_it_moves_leaves_nothing(
    server: Proxy, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store()
    use(settings, server, "s3", before="disk")
    monkeypatch.setattr(moving, "THREADS", 1)
    monkeypatch.setattr(moving, "copy", lambda *arguments: deleted_first(file, *arguments))
    reports = list(moving.move_all(remove_source=False))
    assert (reports[-1].missing, names_in(server), files_below(media)) == ([], [], [])


def deleted_first(file: StoredFile, source: Any, target: Any, name: str, sha256: str) -> int:
    """Its row is deleted once the mover has the file open."""
    with source.open(name, "rb") as opened:
        StoredFile.objects.filter(pk=file.pk).delete()
        target.save(name, opened)
    return 1


@pytest.mark.django_db
def test_two_names_of_one_place_lose_nothing(settings: Any, media: Path) -> None:
    store()
    before = files_below(media)
    place = {"BACKEND": DISK, "OPTIONS": {"location": f"{media}/../{media.name}"}}
    settings.STORAGES = {**settings.STORAGES, "before": place}
    with pytest.raises(CommandError, match="one and the same place: nothing was moved"):
        call_command("move_media", delete_source=True)
    assert files_below(media) == before


def test_without_a_place_to_move_from_it_says_what_to_set(settings: Any) -> None:
    with pytest.raises(CommandError, match="Set MEDIA_STORAGE_BEFORE"):
        call_command("move_media")
    assert MoveReport().is_whole


# ---------------------------------------------------------------- settings


WRONG = [
    ({"bucket_name": ""}, "bucket_name is ''"),
    ({"endpoint_url": "s3.example.com"}, "endpoint_url is 's3.example.com'"),
    ({"endpoint_url": "https://s3.example.com/pictures"}, "Set it to a scheme, a host and at most a port"),
    ({"region_name": "not a region"}, "Correct endpoint_url or region_name"),
    ({"secret_key": ""}, "only one of them is set"),
    ({"attempts": "many"}, "attempts is 'many'"),
    ({"buket": "x"}, "Invalid setting 'buket'"),
]


@pytest.mark.parametrize(("options", "named"), WRONG)
def test_a_wrong_option_is_a_sentence(server: Proxy, settings: Any, options: dict[str, Any], named: str) -> None:
    table = {"BACKEND": S3, "OPTIONS": {**options_of(server), **options}}
    settings.STORAGES = {**settings.STORAGES, "default": table}
    [message] = media_storage_messages()
    assert named in message.msg
    assert message.msg.startswith("MEDIA_STORAGE")


def test_two_settings_that_do_not_fit_are_told(server: Proxy, settings: Any) -> None:
    settings.MEDIA_DELIVERY = "signed"
    use(settings, server, "disk", before="disk")
    assert [message.id for message in media_storage_messages()] == ["darkroom.W071", "darkroom.E071"]


def manage(tmp_path: Path, *command: str, **environment: str) -> str:
    """The last line of what it says, as it ends with 1."""
    given = {"MEDIA_STORAGE": "s3", "DATA_DIR": str(tmp_path), "DATABASE_URL": "", **environment}
    done = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_start_says_what_is_wrong_in_a_sentence(server: Proxy, tmp_path: Path) -> None:
    secret = tmp_path / "options.json"
    secret.write_text(json.dumps(options_of(server, bucket_name="nowhere", secret_key="s3cret")))
    said = manage(tmp_path, "prepare", MEDIA_STORAGE_OPTIONS_FILE=str(secret), PORT=str(free_port()))
    [line] = said.strip().splitlines()
    assert line.startswith("Darkroom can't start: The storage of pictures (bucket nowhere at 127.0.0.1:")
    assert "There is no such bucket. Create it, or correct bucket_name." in line
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("fault", "level", "said"),
    [("denied", "wrong", "Access is denied"), ("lost", "wrong", "not answer"), ("", "fine", "written to")],
)
def test_doctor_tries_the_storage(server: Proxy, settings: Any, fault: str, level: str, said: str) -> None:
    use(settings, server, "s3")
    server.fail(fault)
    [finding] = examine_storage()
    assert (finding.level, said in finding.text) == (level, True)
    assert bool(finding.cure) == (level == "wrong")
    assert len(names_in(server)) == (fault == "lost")  # which the sweep removes


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(tmp_path: Path) -> None:
    said = manage(tmp_path, "check", MEDIA_STORAGE_OPTIONS='{"bucket_name": "b00"}', **plain_environment())
    assert "MEDIA_STORAGE is s3, and its Python packages are not installed." in said
    assert ".venv/bin/python -m pip install -r requirements-s3.txt" in said
    asked = subprocess.run(
        [sys.executable, "-m", "config.extras"],
        cwd=ROOT,
        env={**os.environ, "MEDIA_STORAGE": "s3"},
        capture_output=True,
        text=True,
    )
    assert asked.stdout.split() == ["requirements-s3.txt"]
