"""Media are kept by Django's default storage: any storage will do, and no code outside api/files/ knows a path."""

import ast
import asyncio
import errno
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InMemoryStorage, default_storage
from django.core.management import call_command
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.utils import timezone

from api.files import storage
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.responses import file_response
from api.files.services import open_image, read_file, store_upload
from api.files.storage import write_image_files
from api.files.sweep import SweepReport, missing_files, sweep_orphans
from api.jobs.api.serializers import JobSerializer
from api.system import media_checks
from config.env import env_json_object
from config.media import DISK, S3
from tests.files.conftest import OWNER, encode, files_below, picture, store
from tests.rows import make_picture
from tests.walks import check_each

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def memory(settings: Any, media: Path) -> Path:
    """A storage without a folder, as an object store is."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    return media


def names_in(folder: str) -> list[str]:
    folders, files = default_storage.listdir(folder)
    return files + [name for one in folders for name in names_in(f"{folder}/{one}")]


def test_an_upload_is_kept_opened_and_let_go(memory: Path) -> None:
    file = store_upload(owner_key=OWNER, data=encode(picture()))
    assert open_image(file).getpixel((0, 0)) == (200, 40, 90)
    assert len(names_in("upload")) == 2
    file.delete()
    assert names_in("upload") == files_below(memory) == []


def test_a_made_picture_is_served_whole_and_small_by_wsgi_and_asgi(client: Client) -> None:
    made = make_picture()
    data = read_file(made.file)
    assert client.get(f"/api/images/{made.pk}/thumbnail/")["Content-Type"] == "image/webp"
    wsgi: Any = file_response(RequestFactory().get("/"), made.file)
    assert (wsgi.getvalue(), wsgi["Content-Length"]) == (data, str(len(data)))
    asgi: Any = file_response(AsyncRequestFactory().get("/"), made.file)

    async def read_all() -> bytes:
        return b"".join([chunk async for chunk in asgi.streaming_content])

    assert asyncio.run(read_all()) == data


def test_a_job_shows_its_pictures_as_base64(client: Client) -> None:
    made = make_picture()
    request = client.get("/api/jobs/").wsgi_request
    shown = JobSerializer(made.job, context={"request": request, "include": frozenset({"base64"})}).data
    assert shown["result"]["images"][0]["image_base64"].startswith("iVBORw0KGgo")


def test_a_proxy_is_not_sent_to_a_file_that_it_can_not_read(settings: Any) -> None:
    settings.MEDIA_ACCEL_PREFIX = "/protected/"
    reply: Any = file_response(RequestFactory().get("/"), store())
    assert "X-Accel-Redirect" not in reply
    assert reply.getvalue().startswith(b"\x89PNG")


def test_what_is_gone_is_said() -> None:
    file = store()
    default_storage.delete(file.name)
    with pytest.raises(MissingFile):
        open_image(file)
    with pytest.raises(MissingFile):
        read_file(file)
    assert list(missing_files()) == [file]


def test_the_sweep_finds_what_never_got_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store()
    write_image_files(encode(picture()), picture(), "png")
    assert sweep_orphans() == SweepReport()
    later = timezone.now() + timedelta(hours=2)
    monkeypatch.setattr("api.files.sweep.timezone.now", lambda: later)
    assert sweep_orphans() == SweepReport(files=2)
    assert list(missing_files()) == []
    assert StoredFile.objects.get() == kept


def test_no_disk_of_this_machine_is_watched_for_it(client: Client) -> None:
    assert storage.media_folder() is None
    assert storage.free_media_bytes() is None
    storage.ensure_free_space()
    assert client.get("/metrics").status_code == 200
    call_command("check")


class Away(InMemoryStorage):
    """As the library of an object store whose server is down: with errors of its own."""

    def _open(self, *args: Any, **kwargs: Any) -> Any:
        raise LookupError("could not connect")

    _save = size = exists = delete = _open  # type: ignore[assignment]


@pytest.mark.parametrize(
    "call",
    [
        lambda: storage.write_file("output/2026", b"x", ".png"),
        lambda: storage.open_file("a.png"),
        lambda: storage.read_bytes("a.png"),
        lambda: storage.file_size("a.png"),
        lambda: storage.file_exists("a.png"),
        lambda: storage.remove_file("a.png"),
    ],
)
def test_a_storage_that_does_not_answer_is_an_error_of_the_system(settings: Any, call: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "tests.files.test_storages.Away"}}
    with pytest.raises(OSError, match="storage of pictures does not answer") as caught:
        call()
    assert caught.value.errno == errno.ENOTCONN


def test_a_file_has_a_place_to_tell_people(settings: Any, media: Path) -> None:
    assert storage.describe_place("output/a.png") == "output/a.png"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "api.files.durable.DurableFileSystemStorage"}}
    assert storage.describe_place("output/a.png") == str(media / "output/a.png")


@pytest.mark.parametrize(
    ("backend", "options", "named"),
    [
        ("storages.nowhere.Nothing", {}, "storages.nowhere"),
        ("minio", {}, "'minio'"),
        (DISK, {"bucket_name": "pictures"}, "'bucket_name'"),
        (S3, {"bucket_name": "pictures", "endpoint": "https://s3.example.com"}, "'endpoint'"),
        (
            S3,
            {"bucket_name": "pictures", "addressing_style": "pathh"},
            "addressing style pathh is invalid",
        ),  # botocore's own error
        (S3, {"bucket_name": "pictures", "object_parameters": "x"}, "object_parameters is 'x'. Set it to a JSON object"),
        (S3, {"bucket_name": "pictures", "verify": "/no.pem"}, "verify names /no.pem, which is not there"),
    ],
)
def test_a_storage_that_can_not_be_made_is_a_sentence(backend: str, options: Any, named: str, settings: Any) -> None:
    from api.system.checks import check_media_storage

    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend, "OPTIONS": options}}
    (message,) = check_media_storage()
    assert (message.id, message.msg[-1]) == ("darkroom.E030", ".")
    assert named in message.msg


def test_the_trial_of_a_storage_says_what_to_do_and_no_number(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is none of S3's says 404 to what is written, which was told as "[Errno 2] There is no such object."."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "tests.files.test_storages.Away"}}
    with pytest.raises(OSError) as caught:
        media_checks.try_storage()
    assert media_checks.describe_absence(caught.value).startswith("The storage of pictures does not answer")
    assert media_checks.describe_absence(caught.value).endswith(media_checks.AWAY_CURE)
    monkeypatch.setattr(storage, "try_out", mock.Mock(side_effect=FileNotFoundError(errno.ENOENT, "There is no such object.")))
    assert "Correct endpoint_url: no storage of S3's protocol answers there" in media_checks.try_storage()


def test_no_code_outside_files_knows_where_media_are() -> None:
    def check(file: Path) -> None:
        attributes = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        assert not {"MEDIA_ROOT", "media_path"} & attributes

    own = ROOT / "api" / "files"
    check_each([file for file in sorted((ROOT / "api").rglob("*.py")) if not file.is_relative_to(own)], check)


def test_the_default_storage_is_the_durable_one() -> None:
    import config.settings

    assert config.settings.STORAGES["default"]["BACKEND"] == "api.files.durable.DurableFileSystemStorage"


def test_the_options_of_a_storage_are_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env_json_object("MEDIA_STORAGE_OPTIONS") == {}
    monkeypatch.setenv("MEDIA_STORAGE_OPTIONS", '{"bucket_name": "pictures"}')
    assert env_json_object("MEDIA_STORAGE_OPTIONS") == {"bucket_name": "pictures"}
    sentence = "MEDIA_STORAGE_OPTIONS must be a JSON object\\.$"
    quoted = "MEDIA_STORAGE_OPTIONS has quotes around its value. Leave them out"
    for wrong, match in (("pictures", sentence), ("[]", sentence), ('"secret"', quoted), ("'{}'", quoted)):
        monkeypatch.setenv("MEDIA_STORAGE_OPTIONS", wrong)
        with pytest.raises(ImproperlyConfigured, match=match):
            env_json_object("MEDIA_STORAGE_OPTIONS")
