"""`manage.py search_index`: searches for words that read no more rows than they find, on PostgreSQL; a sentence where it can't be had."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client

from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.jobs.store import word_index
from api.studio.gallery import pages
from api.system.management.commands import search_index
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's indexes")


def names() -> set[str]:
    return {name for name in search_index.INDEXES if word_index.is_valid(name) is not None}


def plan(queryset: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            return queryset.order_by().explain()
        finally:
            cursor.execute("RESET enable_seqscan")


@pytest.fixture
def indexed() -> Any:
    word_index._known.clear()
    yield
    word_index._known.clear()
    call_command("search_index", "--drop", verbosity=0)


@on_postgres
def test_searches_use_the_indexes(
    indexed: None, admin_client: Client, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr(pages, "MOST_SEEN", 2)
    found = make_picture(make_job(prompt="a Zebra", source="openai", owner_key="local"))
    GeneratedImage.objects.filter(pk=found.pk).update(prompt="a Zebra")
    for _ in range(3):
        make_picture()
    assert f"/{found.pk}/" not in admin_client.get("/studio/gallery/?q=zebra").content.decode()
    call_command("search_index")
    assert "jobs_job_words" in plan(Job.objects.filter(prompt__icontains="zebra"))
    assert "images_generatedimage_words" in plan(GeneratedImage.objects.filter(prompt__icontains="zebra"))
    assert "jobs_job_source" in plan(Job.objects.filter(source="openai"))
    word_index._known.clear()
    assert f"{found.pk}" in admin_client.get("/studio/gallery/?q=zebra").content.decode()
    assert [job["id"] for job in admin_client.get("/api/jobs/?q=ZEBRA&source=openai").json()["results"]] == [str(found.job_id)]
    assert str(found.job_id) in admin_client.get("/admin/jobs/job/?q=zebra").content.decode()


@on_postgres
def test_what_a_stopped_build_left_is_made_anew(indexed: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("search_index")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'jobs_job_words'::regclass")
    assert not word_index.has_word_index(Job)
    call_command("search_index")
    assert word_index.is_valid("jobs_job_words")
    assert "images_generatedimage_words is there." in capsys.readouterr().out
    call_command("search_index", "--drop")
    assert names() == set()


@on_postgres
def test_without_the_right_to_add_the_extension(indexed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(statement: str) -> None:
        raise DatabaseError('permission denied to create extension "pg_trgm"\nHINT: …')

    monkeypatch.setattr(search_index, "execute", refuse)
    with pytest.raises(
        CommandError, match=r'permission denied to create extension "pg_trgm"\)\. Searches read the rows, as before'
    ):
        call_command("search_index")
    assert names() == set()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's answer")
def test_sqlite_says_so() -> None:
    with pytest.raises(CommandError, match="SQLite has no such index"):
        call_command("search_index")
    assert not word_index.finds_words(Job, "zebra")
