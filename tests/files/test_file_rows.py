"""Rows and files together: taking pictures in, finding them, letting them go."""

import base64
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.http import Http404
from django.utils import timezone
from PIL import Image

from api.access.principals import LOCAL, Principal
from api.files.errors import DiskFull, InvalidImage, MissingFile
from api.files.models import JobInput, StoredFile
from api.files.services import attach_inputs, open_image, resolve_image, store_upload, visible_file
from api.jobs.models import Job
from tests.files.conftest import OWNER, encode, files_below, picture, store

DATA = encode(picture())


def make_job() -> Job:
    return Job.objects.create(kind="img2img", owner_key=OWNER)


def let_time_pass(file: StoredFile, **span: Any) -> None:
    StoredFile.objects.filter(pk=file.pk).update(used_at=timezone.now() - timedelta(**span))


@pytest.mark.django_db
def test_an_upload_is_kept_as_png_of_its_owner(media: Path) -> None:
    file = store_upload(owner_key=OWNER, data=encode(picture(), "JPEG"))
    file.refresh_from_db()
    assert (file.owner_key, file.purpose, file.content_type) == (OWNER, "upload", "image/png")
    assert (file.width, file.height) == (32, 16)
    assert files_below(media) == sorted([file.name, file.thumbnail_name or ""])
    assert file.size == (media / file.name).stat().st_size
    assert abs((timezone.now() - file.created_at).total_seconds()) < 60


@pytest.mark.django_db
def test_the_same_picture_of_the_same_owner_is_kept_once(media: Path) -> None:
    first = store_upload(owner_key=OWNER, data=DATA)
    assert store_upload(owner_key=OWNER, data=encode(picture(), compress_level=9)).pk == first.pk
    assert store_upload(owner_key="other", data=DATA).pk != first.pk
    assert len(files_below(media)) == 4


@pytest.mark.django_db
def test_an_upload_whose_file_was_lost_is_stored_anew(media: Path) -> None:
    first = store_upload(owner_key=OWNER, data=DATA)
    (media / first.name).unlink()
    again = store_upload(owner_key=OWNER, data=DATA)
    assert again.pk != first.pk
    assert open_image(again).size == (32, 16)


@pytest.mark.django_db
def test_a_refused_upload_leaves_nothing(media: Path) -> None:
    with pytest.raises(InvalidImage):
        store_upload(owner_key=OWNER, data=b"no image")
    assert files_below(media) == []
    assert not StoredFile.objects.exists()


@pytest.mark.django_db
def test_below_the_floor_of_free_space_no_upload_is_taken(media: Path, settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**62
    with pytest.raises(DiskFull):
        store_upload(owner_key=OWNER, data=DATA)


@pytest.mark.django_db
def test_an_id_finds_an_upload_and_a_picture_made_here() -> None:
    upload, made = store_upload(owner_key=OWNER, data=DATA), store()
    assert resolve_image(owner_key=OWNER, value=str(upload.pk)) == upload
    assert resolve_image(owner_key=OWNER, value=str(made.pk).upper()) == made


@pytest.mark.django_db
def test_base64_is_stored() -> None:
    file = resolve_image(owner_key=OWNER, value=base64.b64encode(DATA).decode())
    assert open_image(file).getpixel((0, 0)) == (200, 40, 90)


@pytest.mark.django_db
@pytest.mark.parametrize("owner", ["other", ""])
def test_another_owners_picture_is_not_found(owner: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        resolve_image(owner_key=owner, value=str(store().pk))
    assert caught.value.code == "not_found"


@pytest.mark.django_db
def test_an_unknown_id_is_not_found() -> None:
    with pytest.raises(InvalidImage, match="no image with this id"):
        resolve_image(owner_key=OWNER, value=str(uuid.uuid4()))


@pytest.mark.django_db
def test_staff_finds_everybodys() -> None:
    assert resolve_image(owner_key="local", value=str(store().pk), see_all=True).owner_key == OWNER


@pytest.mark.django_db
def test_a_view_finds_the_files_of_its_principal_alone() -> None:
    file = store()
    assert visible_file(Principal(OWNER, frozenset({"read"})), file.pk) == file
    assert visible_file(LOCAL, str(file.pk)) == file
    for principal, identifier in [
        (Principal("other", frozenset({"read"})), file.pk),
        (LOCAL, uuid.uuid4()),
        (LOCAL, "../../etc/passwd"),
    ]:
        with pytest.raises(Http404):
            visible_file(principal, identifier)


@pytest.mark.django_db
def test_a_mask_is_opened_in_grey() -> None:
    file = store_upload(owner_key=OWNER, data=encode(picture(colour=77, mode="L")), mode="L")
    assert open_image(file, "L").getpixel((0, 0)) == 77
    assert open_image(file).mode == "RGB"


@pytest.mark.django_db
def test_a_picture_whose_file_is_gone_says_so(media: Path) -> None:
    file = store()
    (media / file.name).unlink()
    with pytest.raises(MissingFile) as caught:
        open_image(file)
    assert (caught.value.code, caught.value.status) == ("file_missing", 410)


# Deleting: the file goes when the deletion is committed, and not before


@pytest.mark.django_db(transaction=True)
def test_a_deleted_rows_files_go_at_the_commit(media: Path) -> None:
    file = store()
    with transaction.atomic():
        file.delete()
        assert len(files_below(media)) == 2
    assert files_below(media) == []


@pytest.mark.django_db(transaction=True)
def test_a_deletion_that_is_rolled_back_keeps_the_files(media: Path) -> None:
    file = store()
    with transaction.atomic():
        file.delete()
        transaction.set_rollback(True)
    assert len(files_below(media)) == 2
    assert open_image(StoredFile.objects.get()).size == (32, 16)


@pytest.mark.django_db(transaction=True)
def test_a_bulk_deletion_removes_the_files_too(media: Path) -> None:
    store(colour=1)
    store(colour=2)
    StoredFile.objects.all().delete()
    assert files_below(media) == []


@pytest.mark.django_db(transaction=True)
def test_an_upload_goes_with_the_last_job_that_uses_it(media: Path) -> None:
    file = store_upload(owner_key=OWNER, data=DATA)
    first, second = make_job(), make_job()
    attach_inputs(first, [file, file])
    attach_inputs(second, [file])
    let_time_pass(file, minutes=2)
    first.delete()
    assert StoredFile.objects.filter(pk=file.pk).exists()
    second.delete()
    assert files_below(media) == []


@pytest.mark.django_db(transaction=True)
def test_an_upload_that_was_named_just_now_outlives_its_job_until_the_sweep() -> None:
    file = store_upload(owner_key=OWNER, data=DATA)
    job = make_job()
    attach_inputs(job, [file])
    job.delete()
    assert StoredFile.objects.filter(pk=file.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_picture_made_here_outlives_the_job_that_started_from_it() -> None:
    file, job = store(), make_job()
    attach_inputs(job, [file])
    let_time_pass(file, days=2)
    job.delete()
    assert StoredFile.objects.filter(pk=file.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_picture_can_be_deleted_although_a_job_started_from_it(media: Path) -> None:
    file, job = store(), make_job()
    attach_inputs(job, [file])
    file.delete()
    assert not JobInput.objects.exists()
    assert Job.objects.filter(pk=job.pk).exists()
    assert files_below(media) == []


@pytest.mark.django_db
def test_an_upload_opens_with_the_very_pixels_that_were_sent() -> None:
    for value in range(0, 256, 32):
        file = store_upload(owner_key=OWNER, data=encode(picture((3, 3), (value, 255 - value, 7))))
        assert open_image(file).tobytes() == Image.new("RGB", (3, 3), (value, 255 - value, 7)).tobytes()
