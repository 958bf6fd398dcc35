"""Where a picture comes from: its origin, and the pictures that it was made from, in both directions."""

from typing import Any

import pytest
from django.test import Client

from api.files.storage import write_image_files
from api.images.handler import Output, Picture
from api.images.models import GeneratedImage, ImageSource
from api.images.output_sinks import GeneratedPicture, SelectedPictures
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from tests.files.conftest import encode, picture
from tests.migrating import migrated_back
from tests.rows import PARAMS, make_job, make_picture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def record(**params: Any) -> GeneratedImage:
    """The picture that a finished job leaves."""
    job = make_job(kind="img2img" if "image" in params else "txt2img", params={**PARAMS, **params})
    made = GeneratedPicture(picture((16, 16)), 42)
    kind = get_kind(job.kind)
    pictures = [Picture(write_image_files(encode(made.picture), made.picture, "png"), made, 0)]
    result = kind.record(job, Output(kind.read_spec(job), pictures, SelectedPictures([made])))
    return GeneratedImage.objects.get(pk=result["images"][0]["id"])


def test_a_picture_made_from_a_prompt_is_generated() -> None:
    made = record()
    assert (made.origin, made.source_id, list(made.sources.all())) == ("generated", None, [])


def test_a_picture_made_from_a_picture_is_edited_and_linked_both_ways(client: Client) -> None:
    source, mask = make_picture(), make_picture()
    made = record(image=str(source.pk), mask=str(mask.pk), strength=0.5)
    assert made.origin == "edited"
    assert [(link.source, link.role) for link in made.source_links.all()] == [(source, "image"), (mask, "mask")]
    assert list(source.derived.all()) == list(mask.derived.all()) == [made]
    shown = client.get(f"/api/images/{made.pk}/").json()
    assert (shown["origin"], shown["source"]) == ("edited", str(source.pk))
    assert [image["id"] for image in client.get(f"/api/images/?source={mask.pk}").json()["results"]] == [str(made.pk)]
    assert shown["sources"] == [{"id": str(source.pk), "role": "image"}, {"id": str(mask.pk), "role": "mask"}]


def test_a_picture_made_from_what_the_request_brought_is_edited_and_has_no_link() -> None:
    made = record(image="0197c0de-0000-7000-8000-000000000000", strength=0.5)
    assert (made.origin, made.source_id) == ("edited", None)


def test_deleting_the_source_leaves_what_was_made_from_it(client: Client) -> None:
    source = make_picture()
    made = record(image=str(source.pk), strength=0.5)
    assert client.delete(f"/api/images/{source.pk}/").status_code == 204
    assert client.get(f"/api/images/{made.pk}/").json()["source"] is None


def test_pictures_are_listed_by_their_origin(client: Client) -> None:
    generated = make_picture()
    edited = make_picture(origin="edited")
    for origin, picture_ in (("generated", generated), ("edited", edited)):
        results = client.get(f"/api/images/?origin={origin}").json()["results"]
        assert [image["id"] for image in results] == [str(picture_.pk)]
    refused = client.get("/api/images/?origin=drawn")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "origin")


def test_the_list_takes_as_many_queries_for_many_pictures_as_for_one(client: Client, django_assert_num_queries: Any) -> None:
    source = make_picture()
    for _ in range(5):
        record(image=str(source.pk), strength=0.5)
    with django_assert_num_queries(4):  # whether a key exists, the pictures, their tags, their sources
        client.get("/api/images/")


@pytest.mark.django_db(transaction=True)
def test_the_migration_keeps_every_row_with_its_source(transactional_db: None) -> None:
    with migrated_back("images", "0001_initial") as old:
        rows = {name: old_row(old, name) for name in ("plain", "first", "uploaded", "edited")}
        rows["edited"].source_id = rows["first"].pk
        rows["edited"].save()
    now = {image.prompt: image for image in GeneratedImage.objects.all()}
    assert {name: image.origin for name, image in now.items()} == {
        "plain": "generated",
        "first": "generated",
        "uploaded": "edited",
        "edited": "edited",
    }
    assert {name: image.source_id for name, image in now.items() if image.source_id} == {"edited": now["first"].pk}
    assert ImageSource.objects.get().role == "image"
    assert {(image.seed, image.steps, image.index) for image in now.values()} == {(7, 4, 0)}
    Job.objects.all().delete()


def old_row(old: Any, name: str) -> Any:
    kind = "img2img" if name in ("uploaded", "edited") else "txt2img"
    job = make_job(kind=kind)
    file = old.get_model("files", "StoredFile").objects.create(
        owner_key="local", purpose="output", name=name, sha256="", content_type="image/png", size=1, width=1, height=1
    )
    return old.get_model("images", "GeneratedImage").objects.create(
        file=file, job_id=job.pk, index=0, owner_key="local", model_id="starter", prompt=name, seed=7, steps=4,
        guidance_scale=5.0, width=1, height=1,
    )  # fmt: skip
