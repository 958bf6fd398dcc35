"""What holds on every page of the admin: nothing inline, one form of dates, a way home without repetitions, all that is to be found."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from api.access.models import ApiKey
from api.access.services import create_key
from api.chat.models import Conversation
from api.images.models import Tag
from api.images.presets.services import create_preset
from api.jobs.admin.tools import date_text
from api.jobs.models import Worker
from api.scoring.models import PromptScore
from api.scoring.taste.judgements import compare
from api.webhooks.models import Delivery
from api.webhooks.settings_of_keys import settings_of
from config.middleware import CONTENT_POLICY
from tests.rows import make_contest, make_job, make_picture
from tests.scoring.test_judgements import make_layout
from tests.scoring.test_taste_admin import make_scorer

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
OTHER_DATES = re.compile(rf"[ap]\.m\.|\b(?:{MONTHS})[a-z]*\.? \d|\b\d{{1,2}} (?:{MONTHS})\b|\d{{2}}/\d{{2}}/\d{{4}}")
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:")


@pytest.fixture
def rows() -> None:
    """One of everything."""
    make_contest()
    first, second = (make_picture().file for _ in range(2))
    first.ratings.give(owner_key="local", stars=4)
    compare(owner_key="local", first=first, second=second, preferred=second)
    score = {"clip_cosine": 0.3, "clip_model": "starter-clip", "image_index": 0, "prompt_index": 0}
    PromptScore.objects.create(job=make_job(), owner_key="local", image=first, prompt="a lake", **score)
    make_layout()
    make_scorer()
    Worker.objects.create(hostname="here", pid=1)
    Conversation.objects.create(owner_key="local", model_id="starter-vlm", title="hello")
    Tag.objects.create(name="a tag")
    settings_of("local")
    Delivery.objects.create(job_id=make_job().pk, owner_key="local", url="https://example.com/", event="completed", body="{}")
    create_preset(name="a-preset", owner_key="local", request={"prompt": "a {prompt}"}, description="A preset")
    Group.objects.create(name="a group")


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def pages(model: type[Model]) -> Iterator[str]:
    """Its list, and what leads on from the first row; adding one where that can be done."""
    row = model._default_manager.first()
    yield address(model, "changelist")
    if row is not None:
        yield from (address(model, page, row.pk) for page in ("change", "history", "delete"))
    yield address(model, "add")


def read(client: Client, model: type[Model]) -> Iterator[tuple[str, str]]:
    for page in (*pages(model), "/admin/", "/admin/scoring/comparison/compare/"):
        reply = client.get(page)
        assert reply.status_code in (200, 403), page
        assert reply.headers["Content-Security-Policy"] == CONTENT_POLICY, page
        if reply.status_code == 200:
            yield page, reply.content.decode()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_nothing_is_inline_and_dates_and_breadcrumbs_are_alike(admin_client: Client, rows: None, model: type[Model]) -> None:
    if model is ApiKey:
        create_key(name="an application")
    read_pages = dict(read(admin_client, model))
    assert address(model, "changelist") in read_pages
    for page, text in read_pages.items():
        assert INLINE.findall(text) == [], page
        assert OTHER_DATES.findall(re.sub(r"<[^>]*>", " ", text)) == [], page
        trail = re.search(r'<div class="breadcrumbs">(.*?)</div>', text, re.DOTALL)
        crumbs = [re.sub(r"<[^>]*>", "", crumb).strip() for crumb in trail[1].split("&rsaquo;")] if trail else []
        assert len(crumbs) == len(set(crumbs)), page


@pytest.mark.parametrize("path", ["/", "/studio/nothing", "/admin/login/", "/admin/nothing/"])
def test_other_pages_have_the_policy_too(client: Client, path: str) -> None:
    reply = client.get(path, follow=True)
    assert reply.headers["Content-Security-Policy"] == CONTENT_POLICY
    assert INLINE.findall(reply.content.decode()) == []


def test_a_date_is_written_as_in_the_templates() -> None:
    assert date_text(datetime(2026, 11, 27, 8, 5, 9, tzinfo=UTC)) == "2026-11-27 08:05:09"


def test_the_navigation_leads_to_what_a_person_may_see(admin_client: Client, onlooker: Client) -> None:
    links = [
        re.findall(r'<a href="([^"]+)">', client.get("/admin/").content.decode().split('class="ways"')[1].split("</nav>")[0])
        for client in (admin_client, onlooker)
    ]
    assert "/admin/chat/conversation/" in links[0]
    assert links[1] == ["/admin/", "/admin/jobs/job/"]
    assert all(admin_client.get(link).status_code == 200 for link in links[0])


def test_a_filters_title_completes_its_sentence(admin_client: Client, rows: None) -> None:
    titles = {
        title.strip()
        for model in MODELS
        for title in re.findall(
            r"<summary>\s*By ([^<]+)</summary>", admin_client.get(address(model, "changelist")).content.decode()
        )
    }
    assert "date" in titles
    assert titles.isdisjoint({"on", "what"})


# ---------------------------------------------------------------- the form that adds a key


def test_a_new_key_has_no_empty_fields_of_later(admin_client: Client) -> None:
    page = admin_client.get("/admin/access/apikey/add/").content.decode()
    for label in ("Prefix", "Revoked at", "Last used at", "Created at"):
        assert label not in page
    key, _ = create_key(name="an application")
    assert "Prefix" in admin_client.get(f"/admin/access/apikey/{key.pk}/change/").content.decode()


def test_before_and_after_the_first_key_it_is_said_what_now_needs_one(admin_client: Client) -> None:
    add = "/admin/access/apikey/add/"
    assert "There is no key yet" in admin_client.get(add).content.decode()
    for name, is_first in (("first", True), ("second", False)):
        reply = admin_client.post(add, {"name": name, "scopes": ["read"], "weight": 1}, follow=True)
        assert ("This was the first key: from now on the page at / asks for a log-in" in reply.content.decode()) is is_first
        assert "There is no key yet" not in admin_client.get(add).content.decode()
