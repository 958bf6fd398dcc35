"""POST /api/images/: a picture is uploaded once, used by its id, and goes when nobody needs it any more."""

import base64
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from PIL import Image

from api.access.services import create_key
from api.files.models import StoredFile
from api.files.services import open_image, store_upload
from api.files.sweep import sweep_orphans
from api.images.models import GeneratedImage
from api.images.services import link_sources
from api.jobs.models import Job
from tests.files.conftest import encode, files_below, picture
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)
DATA = encode(picture())
GENERATION = (
    "job",
    "index",
    "model_id",
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "guidance_scale",
    "scheduler",
    "strength",
)


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def text(data: bytes = DATA) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, **body: Any) -> Any:
    return client.post("/api/images/", {"image": text(), **body}, content_type="application/json")


def upload(client: Client, **body: Any) -> Any:
    reply = post(client, **body)
    assert reply.status_code == 201, reply.content
    return reply.json()


def let_time_pass(**span: Any) -> None:
    """Everything that was uploaded was so long ago."""
    for file in StoredFile.objects.all():
        file.used_at -= timedelta(**span)
        file.expires_at = file.expires_at and file.expires_at - timedelta(**span)
        file.save(update_fields=["used_at", "expires_at"])


# ---------------------------------------------------------------- what is answered


def test_an_upload_is_shown_as_a_picture_of_its_own(client: Client) -> None:
    reply = post(client)
    shown = reply.json()
    assert (reply.status_code, reply["Location"]) == (201, f"http://testserver/api/images/{shown['id']}/")
    assert shown == client.get(f"/api/images/{shown['id']}/").json()
    assert (shown["origin"], shown["width"], shown["height"], shown["parameters"]) == ("uploaded", 32, 16, {})
    assert {name: shown[name] for name in GENERATION} == dict.fromkeys(GENERATION)
    with Image.open(io.BytesIO(b"".join(client.get(shown["url"]).streaming_content))) as opened:  # type: ignore[attr-defined]
        assert (opened.format, opened.getpixel((0, 0))) == ("PNG", (200, 40, 90))
    assert client.get(shown["thumbnail_url"])["Content-Type"] == "image/webp"


@pytest.mark.parametrize(
    "body",
    [
        {"image": text()},
        {"image": f"data:image/png;base64,{text()}"},
        {"image": text(encode(picture(), "AVIF", quality=100))},
    ],
)
def test_json_carries_base64_and_data_urls(client: Client, body: Any) -> None:
    assert upload(client, **body)["width"] == 32


def test_a_form_carries_a_file(client: Client) -> None:
    reply = client.post("/api/images/", {"image": SimpleUploadedFile("a.png", DATA, "image/png"), "expires_in": "3600"})
    assert reply.status_code == 201, reply.content
    expires_at = parse_datetime(reply.json()["expires_at"])
    assert expires_at is not None
    assert timedelta(minutes=59) < expires_at - timezone.now() <= timedelta(hours=1)


def test_only_an_upload_is_a_form(client: Client) -> None:
    made = make_picture()
    multipart = {"content_type": "multipart/form-data; boundary=x"}
    assert client.patch(f"/api/images/{made.pk}/", b"--x--", **multipart).status_code == 415


def test_an_upload_is_kept_for_a_day_where_nothing_is_said(client: Client) -> None:
    expires_at = parse_datetime(upload(client)["expires_at"])
    assert expires_at is not None
    assert timedelta(hours=23) < expires_at - timezone.now() <= timedelta(days=1)


def test_transparency_is_kept_and_laid_on_white_where_a_picture_is_wanted(client: Client) -> None:
    shown = upload(client, image=text(encode(picture(colour=(255, 0, 0, 0), mode="RGBA"))))
    file = StoredFile.objects.get(pk=shown["id"])
    with Image.open(io.BytesIO(b"".join(client.get(shown["url"]).streaming_content))) as opened:  # type: ignore[attr-defined]
        assert opened.mode == "RGBA"
    assert open_image(file).getpixel((0, 0)) == (255, 255, 255)
    with Image.open(io.BytesIO(b"".join(client.get(shown["thumbnail_url"]).streaming_content))) as opened:  # type: ignore[attr-defined]
        assert opened.mode == "RGBA"
        assert opened.getchannel("A").getextrema() == (0, 0)


def test_the_same_pixels_are_one_picture_kept_as_long_as_the_longest_upload_asked(client: Client) -> None:
    first = upload(client, expires_in=7200)
    again = upload(client, expires_in=60, image=text(encode(picture(), compress_level=9)))
    assert again == first
    assert upload(client, expires_in=86400)["expires_at"] > first["expires_at"]
    assert GeneratedImage.objects.count() == StoredFile.objects.count() == 1


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"image": None}, "image", "null"),
        ({"image": "not base64!"}, "image", "not_base64"),
        ({"image": text(b"hello")}, "image", "not_an_image"),
        ({"image": text(DATA[:60])}, "image", "damaged_image"),
        ({"image": "http://example.com/a.png"}, "image", "url_not_allowed"),
        ({"image": "0197c0de-0000-7000-8000-000000000000"}, "image", "already_here"),
        ({"expires_in": 59}, "expires_in", "min_value"),
        ({"expires_in": 30 * 86400 + 1}, "expires_in", "max_value"),
        ({"expires_in": "soon"}, "expires_in", "invalid"),
        ({"expire": 60}, "expire", "unknown_field"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(client: Client, media: Path, body: Any, field: str, code: str) -> None:
    reply = post(client, **body)
    assert reply.status_code == 400
    assert [(error["field"], error["code"]) for error in reply.json()["errors"]] == [(field, code)]
    assert files_below(media) == []
    assert not StoredFile.objects.exists()


def test_without_an_image_the_field_is_named(client: Client) -> None:
    reply = client.post("/api/images/", {}, content_type="application/json")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "image")


def test_below_the_floor_of_free_space_no_upload_is_taken(client: Client, settings: Any, media: Path) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**62
    reply = post(client)
    assert (reply.status_code, reply.json()["code"]) == (507, "disk_full")
    assert files_below(media) == []


def test_an_owner_keeps_so_many_uploads_at_most(client: Client, settings: Any) -> None:
    settings.MAX_UPLOADS_PER_KEY = 2
    shown = [upload(client, image=text(encode(picture(colour=(number, 0, 0))))) for number in range(2)]
    reply = post(client)
    assert (reply.status_code, reply.json()["code"], reply["Retry-After"]) == (429, "too_many_uploads", "60")
    client.delete(shown[0]["url"].removesuffix("file/"))
    upload(client)


def test_a_key_needs_the_scope_submit_and_sees_its_own_alone() -> None:
    outside = Client(REMOTE_ADDR="192.0.2.1")
    reader, owner, other = (
        {"Authorization": f"Bearer {create_key(name=name, scopes=scopes)[1]}"}
        for name, scopes in (("reader", ["read"]), ("owner", ["read", "submit"]), ("other", ["read", "submit"]))
    )
    body = {"image": text()}
    assert outside.post("/api/images/", body, content_type="application/json").status_code == 401
    assert outside.post("/api/images/", body, content_type="application/json", headers=reader).status_code == 403
    shown = outside.post("/api/images/", body, content_type="application/json", headers=owner).json()
    assert outside.get(f"/api/images/{shown['id']}/", headers=owner).status_code == 200
    assert outside.get(f"/api/images/{shown['id']}/", headers=other).status_code == 404
    assert outside.get(f"/api/images/{shown['id']}/file/", headers=other).status_code == 404
    assert outside.get("/api/images/", headers=other).json()["results"] == []
    wanted = {"prompt": "a lake", "image": shown["id"]}
    refused = outside.post("/api/img2img/", wanted, content_type="application/json", headers=other)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "not_found")


# ---------------------------------------------------------------- using it


def test_its_id_is_taken_wherever_an_image_is_asked_for(client: Client) -> None:
    shown = upload(client)
    turn = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"darkroom://images/{shown['id']}"}}]}
    requests = {
        "/api/img2img/": {"prompt": "a lake", "image": shown["id"], "mask": shown["id"]},
        "/api/score/": {"image": shown["id"]},
        "/v1/chat/completions": {"messages": [turn]},
    }
    for address, body in requests.items():
        reply = client.post(address, body, content_type="application/json", headers={"Prefer": "respond-async"})
        assert reply.status_code == 202, (address, reply.content)
    assert Job.objects.filter(inputs__file=shown["id"]).count() == len(requests)


def test_it_is_listed_judged_and_deleted_like_any_picture(client: Client, media: Path) -> None:
    made, shown = make_picture(), upload(client)
    assert [image["id"] for image in client.get("/api/images/").json()["results"]] == [shown["id"], str(made.pk)]
    assert [image["id"] for image in client.get("/api/images/?origin=uploaded").json()["results"]] == [shown["id"]]
    judged = client.patch(f"/api/images/{shown['id']}/", {"rating": 4, "tags": ["mine"]}, content_type="application/json")
    assert (judged.json()["rating"], judged.json()["tags"]) == (4, ["mine"])
    assert client.delete(f"/api/images/{shown['id']}/").status_code == 204
    assert files_below(media) == sorted([made.file.name, made.file.thumbnail_name or ""])


def test_people_see_uploads_in_the_admin_and_not_in_the_studio(client: Client, admin_client: Client) -> None:
    shown = upload(client)
    assert shown["id"] in admin_client.get("/admin/images/generatedimage/?origin__exact=uploaded").content.decode()
    page = admin_client.get(f"/admin/images/generatedimage/{shown['id']}/change/").content.decode()
    assert "uploaded" in page
    assert "None" not in page
    assert shown["id"] not in client.get("/").content.decode()


# ---------------------------------------------------------------- when it goes


def test_an_expired_upload_goes_with_its_row_and_its_files(client: Client, media: Path) -> None:
    upload(client, expires_in=120)
    let_time_pass(seconds=119)
    assert sweep_orphans().uploads == 0
    let_time_pass(seconds=2)
    assert sweep_orphans().uploads == 1
    assert files_below(media) == []
    assert not GeneratedImage.objects.exists()


def test_an_upload_that_expires_later_outlives_the_day_of_unnamed_ones(client: Client) -> None:
    upload(client, expires_in=3 * 86400)
    store_upload(owner_key="local", data=encode(picture(colour=1)))
    let_time_pass(days=2)
    assert sweep_orphans().uploads == 1
    assert GeneratedImage.objects.count() == 1


def test_an_expired_upload_that_was_named_just_now_may_still_get_its_job(client: Client) -> None:
    shown = upload(client)
    let_time_pass(days=2)
    StoredFile.objects.filter(pk=shown["id"]).update(used_at=timezone.now())
    assert sweep_orphans().uploads == 0


def keep_by_job(file: StoredFile) -> None:
    Job.objects.create(kind="img2img", owner_key="local").inputs.create(file=file)


def keep_by_picture(file: StoredFile) -> None:
    link_sources(make_picture(), [("image", file.generated)])


def keep_by_stars(file: StoredFile) -> None:
    file.ratings.give(owner_key="local", stars=5)


def keep_by_comparison(file: StoredFile) -> None:
    file.comparisons_a.create(file_b=make_picture().file, owner_key="local", outcome=1)


@pytest.mark.parametrize("keep", [keep_by_job, keep_by_picture, keep_by_stars, keep_by_comparison])
def test_what_refers_to_an_upload_keeps_it(client: Client, keep: Any) -> None:
    file = StoredFile.objects.get(pk=upload(client)["id"])
    keep(file)
    let_time_pass(days=2)
    assert sweep_orphans().uploads == 0
    assert client.get(f"/api/images/{file.pk}/").status_code == 200
