"""What the kinds that annotate pictures have in common: their input stays, and what was drawn for nothing goes."""

from types import SimpleNamespace

import pytest
from django.core.files.storage import default_storage
from PIL import Image

from api.files import storage
from api.files.models import JobInput
from api.files.services import create_file
from api.jobs import lifecycle
from api.jobs.kinds import get_kind
from tests.rows import ANY_PARAMS, spec_of

pytestmark = pytest.mark.django_db
KINDS = ["detect", "hazards", "ocr"]


def written() -> storage.WrittenFile:
    image = Image.new("RGB", (8, 8), "teal")
    return storage.write_image_files(b"a picture", image, "png")


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_refers_to_the_picture_that_it_starts_from(kind: str) -> None:
    file = create_file(written(), owner_key="local", purpose=storage.OUTPUT)
    job = lifecycle.submit_job(spec=spec_of(kind, {**ANY_PARAMS, "image": str(file.pk)}), owner_key="local")
    assert list(JobInput.objects.filter(job=job).values_list("file", flat=True)) == [file.pk]


@pytest.mark.parametrize("kind", KINDS)
def test_an_annotated_picture_that_nobody_gets_is_removed(kind: str) -> None:
    file = written()
    assert default_storage.exists(file.name)
    get_kind(kind).discard(SimpleNamespace(annotated=file))
    assert not default_storage.exists(file.name)
