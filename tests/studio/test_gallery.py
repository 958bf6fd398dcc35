"""The latest pictures, the page of one, and what all pages have in common."""

import re
import uuid
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.studio.views import PAGE
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def thumbnails(page: str) -> list[str]:
    return re.findall(r"/api/images/([0-9a-f-]+)/thumbnail/", page)


def test_pictures_come_in_pages_without_a_gap(here: Client) -> None:
    pictures = [str(make_picture().pk) for _ in range(PAGE + 3)]
    first = here.get("/").content.decode()
    more = re.search(r'hx-get="(/studio/images/\?before=[0-9a-f-]+)"', first)[1]
    second = here.get(more, headers=PART).content.decode()
    assert thumbnails(first) + thumbnails(second) == pictures[::-1]
    assert "before=" not in second


def test_more_pictures_are_a_whole_page_without_scripts(here: Client) -> None:
    make_picture()
    assert "<!DOCTYPE html>" in here.get("/studio/images/").content.decode()


def test_many_pictures_ask_no_more_queries_than_few(here: Client) -> None:
    make_picture()
    with CaptureQueriesContext(connection) as few:
        here.get("/")
    for _ in range(10):
        make_picture()
    with CaptureQueriesContext(connection) as many:
        here.get("/")
    assert (
        len(many) == len(few) <= 10
    )  # three of them for the state of the workers, three for jobs under way and failures, one for scorers


def test_the_page_of_a_picture_tells_what_made_it_and_leads_on(here: Client) -> None:
    older, picture, newer = make_picture(), make_picture(seed=4711), make_picture()
    page = here.get(f"/studio/images/{picture.pk}/").content.decode()
    for shown in ("a red circle above", "4711", "blurry", f'href="/?again={picture.pk}"', f"/api/images/{picture.pk}/file/"):
        assert shown in page
    for neighbour in (older, newer):
        assert f'href="/studio/images/{neighbour.pk}/"' in page


def test_the_lightbox_gets_the_part_alone(here: Client) -> None:
    assert "<!DOCTYPE" not in here.get(f"/studio/images/{make_picture().pk}/", headers=PART).content.decode()


def test_the_page_of_a_job_without_pictures_does_not_miss_any(here: Client) -> None:
    made = make_picture().job
    made.images.all().delete()
    judged = make_job(kind="layout_score", result={"aesthetic_score": 50.0})
    pages = {job.kind: here.get(f"/studio/jobs/{job.pk}/").content.decode() for job in (made, judged)}
    assert "have been deleted" in pages["txt2img"]
    assert "have been deleted" not in pages["layout_score"]


def test_an_unknown_picture_is_a_page_that_says_so(here: Client) -> None:
    reply = here.get(f"/studio/images/{uuid.uuid4()}/")
    assert reply.status_code == 404
    assert "There is nothing at this address." in reply.content.decode()


def test_a_page_that_is_not_there_leads_back(here: Client) -> None:
    page = here.get("/studio/nothing/").content.decode()
    assert 'href="/"' in page
    assert "404" in page


def test_an_error_of_ours_is_a_page_with_the_requests_id(here: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("api.studio.views.images_context", broken)
    here.raise_request_exception = False
    reply = here.get("/", headers={"X-Request-ID": "request-0001"})
    assert reply.status_code == 500
    assert "request-0001" in reply.content.decode()
    assert "secret" not in reply.content.decode()


def pages_with_something_on_them() -> list[str]:
    picture = make_picture(make_job(timings={"load": 1.0}))
    running = make_job("running", progress={"fraction": 0.5, "step": 1, "steps": 2})
    return [
        "/",
        f"/?again={picture.pk}",
        "/studio/images/",
        f"/studio/images/{picture.pk}/",
        f"/studio/jobs/{running.pk}/",
        f"/studio/jobs/{picture.job_id}/",
        "/studio/nothing/",
    ]


def test_no_page_has_anything_inline_or_from_elsewhere(person: Client) -> None:
    job = make_job()
    for address in (*pages_with_something_on_them(), "/admin/", f"/admin/jobs/job/{job.pk}/change/"):
        page = person.get(address).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\sstyle=|<style|\son[a-z]+=|javascript:", page), address
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page), address


def test_the_studio_forbids_what_it_does_not_use(here: Client) -> None:
    policy = here.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "name", ["studio.css", "pages.js", "admin.css", "favicon.svg", "vendor/htmx.min.js", "vendor/sse.min.js"]
)
def test_every_asset_is_served_by_us(here: Client, name: str) -> None:
    assert here.get(f"/static/studio/{name}").status_code == 200


def test_vendored_scripts_say_what_they_are_and_under_which_licence(here: Client) -> None:
    for name in ("htmx.min.js", "sse.min.js"):
        head = here.get(f"/static/studio/vendor/{name}").content[:300].decode()
        assert "Zero-Clause BSD" in head


def test_the_scripts_are_small() -> None:
    """All of our own on all pages together, htmx and its extension aside."""
    scripts = [path for path in (Path(settings.BASE_DIR) / "api/studio/static").rglob("*.js") if "vendor" not in path.parts]
    assert len(scripts) > 10
    assert sum(path.stat().st_size for path in scripts) < 80_000
