"""Taking pictures in, finding them again and letting them go."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Coalesce, Greatest, Now
from django.http import Http404
from PIL import Image

from api.access.principals import Principal, visible_to
from api.access.services import limits_of
from api.files import storage
from api.files.decoding import Mode, decode_image, encode_png, flatten, room_for
from api.files.errors import InvalidImage, MissingFile
from api.files.formats import UPLOAD
from api.files.inputs import decode_input, parse_id
from api.files.models import JobInput, StoredFile, StoredFileQuerySet
from api.files.storage import WrittenFile
from api.jobs.models import Job
from api.jobs.store import usage
from api.quotas import STORED, Amount
from api.specs import Spec


def resolve_image(*, owner_key: str, value: str | UploadedFile, mode: Mode = "RGB", see_all: bool = False) -> StoredFile:
    """The picture that a client means: one that is here (by id), or the one it sends, which is stored.

    Another owner's picture is not found, unless `see_all` (staff). Raises InvalidImage and DiskFull.
    """
    identifier = parse_id(value)
    if identifier is None:
        return store_upload(owner_key=owner_key, data=decode_input(value), mode=mode)
    return find_named(identifier, owner_key, see_all)


def find_named(identifier: uuid.UUID, owner_key: str, see_all: bool) -> StoredFile:
    files = StoredFile.objects.filter(pk=identifier)
    file = mark_used(files if see_all else files.filter(owner_key=owner_key))
    if file is None:
        raise InvalidImage("There is no image with this id.", "not_found")
    return file


def open_sent_image(*, owner_key: str, value: str | UploadedFile, mode: Mode, see_all: bool = False) -> Image.Image:
    """The pixels of a picture that a client means, as `resolve_image`, which are not kept. Raises InvalidImage and MissingFile."""
    identifier = parse_id(value)
    if identifier is None:
        return decode_image(decode_input(value), mode)
    return open_image(find_named(identifier, owner_key, see_all), mode)


def store_pixels(*, owner_key: str, image: Image.Image) -> StoredFile:
    """What was made of a client's picture, kept as its uploads are. Raises DiskFull."""
    storage.ensure_free_space()
    return keep_pixels(owner_key, image)


def store_upload(*, owner_key: str, data: bytes, mode: Mode = "RGB") -> StoredFile:
    """Decodes, checks, and keeps the pixels alone, as PNG. Raises InvalidImage and DiskFull.

    The same pixels of the same owner are kept once, so that a retried request names the same file.
    """
    storage.ensure_free_space()
    with room_for(data):
        return keep_pixels(owner_key, decode_image(data, mode))


def keep_pixels(owner_key: str, image: Image.Image) -> StoredFile:
    png = encode_png(image)
    known = StoredFile.objects.uploads().filter(owner_key=owner_key, sha256=hashlib.sha256(png).hexdigest())
    file = mark_used(known)
    if file is not None and storage.file_exists(file.name):
        return file
    written = storage.write_image_files(png, image, UPLOAD.name, purpose=storage.UPLOAD)
    try:
        with transaction.atomic():
            ensure_may_keep(owner_key, written.size)
            return create_file(written, owner_key=owner_key, purpose=storage.UPLOAD)
    except BaseException:
        storage.remove_written(written)
        raise


def ensure_may_keep(owner_key: str, size: int) -> None:
    """In the transaction that makes an upload's row. Raises DarkroomError (429) where its owner may not keep so much."""
    quotas = tuple(quota for quota in limits_of(owner_key).quotas if quota.name == STORED)
    if quotas:
        usage.lock_owner(owner_key)
        usage.ensure_within(owner_key, quotas, Amount(bytes=size))


def keep_until(file: StoredFile, moment: datetime) -> None:
    """An upload that was to be kept longer already is."""
    later = Greatest(Coalesce("expires_at", Value(moment)), Value(moment))
    StoredFile.objects.filter(pk=file.pk).update(expires_at=later)


def mark_used(files: StoredFileQuerySet) -> StoredFile | None:
    """The first of `files`, kept from the sweep of unused uploads for another day; None where there is none (any more)."""
    file = files.first()
    if file is None or not StoredFile.objects.filter(pk=file.pk).update(used_at=Now()):
        return None
    return file


def create_file(written: WrittenFile, *, owner_key: str, purpose: str, id: uuid.UUID | None = None) -> StoredFile:
    """The row of files that are on disk. Belongs into the transaction that makes the rows which refer to it."""
    return StoredFile.objects.create(
        id=id or written.id,
        owner_key=owner_key,
        purpose=purpose,
        name=written.name,
        thumbnail_name=written.thumbnail_name,
        sha256=written.sha256,
        content_type=written.content_type,
        size=written.size,
        width=written.width,
        height=written.height,
    )


def create_output(job: Job, written: WrittenFile) -> StoredFile:
    """The row of a picture that a job has made, which is counted; in the transaction that ends the job."""
    job.count_picture(written.width, written.height, written.size)
    return create_file(written, owner_key=job.owner_key, purpose=storage.OUTPUT)


def sizes_of_inputs(ids: Iterable[str | None]) -> list[tuple[int, int]]:
    """Width and height of those that are here."""
    named = [uuid.UUID(one) for one in ids if one]
    files = StoredFile.objects.in_bulk(named) if named else {}
    return [(file.width, file.height) for pk in named if (file := files.get(pk))]


def attach_inputs(job: Job, files: Iterable[StoredFile]) -> None:
    """Ties pictures to a job that starts from them. Belongs into the transaction that submits the job."""
    JobInput.objects.bulk_create([JobInput(job=job, file=file) for file in {file.pk: file for file in files}.values()])


def link_inputs(spec: Spec) -> Callable[[Job], None] | None:
    """Ties the files that a request starts from to its job; None where there are none."""
    ids = spec.input_ids
    return (lambda job: attach_inputs(job, StoredFile.objects.filter(pk__in=ids))) if ids else None


def visible_file(principal: Principal, identifier: uuid.UUID | str) -> StoredFile:
    """By id, for a view. Raises Http404, also for another owner's file and for what is no id."""
    try:
        pk = uuid.UUID(str(identifier))
    except ValueError:
        raise Http404 from None
    file = visible_to(principal, StoredFile.objects.filter(pk=pk)).first()
    if file is None:
        raise Http404
    return file


def open_image(file: StoredFile, mode: Mode = "RGB") -> Image.Image:
    """The pixels of a picture that is here. Raises MissingFile."""
    try:
        with storage.open_file(file.name) as opened, Image.open(opened) as image:
            image.load()
            return flatten(image, mode)
    except FileNotFoundError:
        raise MissingFile from None


def read_file(file: StoredFile) -> bytes:
    """As it is stored. Raises MissingFile."""
    try:
        return storage.read_bytes(file.name)
    except FileNotFoundError:
        raise MissingFile from None


def delete_unused_uploads(files: StoredFileQuerySet, *, unused_since: datetime, limit: int = 500) -> int:
    """Deletes up to `limit` of `files` that are uploads, that nothing refers to, and that nobody sent or named since then."""
    with transaction.atomic():
        unused = list(files.unused_since(unused_since).select_for_update()[:limit])
        for file in unused:
            file.delete()
    return len(unused)
