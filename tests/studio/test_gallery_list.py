"""The gallery's list: what is found, in which order, page by page; and what is done to many pictures."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from api.access.scopes import READ, SUBMIT
from api.access.services import create_key
from api.images.models import GeneratedImage
from api.images.services import link_sources, set_tags
from api.jobs.admin.tools import first_id_of
from api.studio.gallery import pages
from api.studio.gallery import query as query_module
from tests.rows import make_contest, make_job, make_picture

pytestmark = pytest.mark.django_db
GALLERY, CHANGE = "/studio/gallery/", "/studio/gallery/change"
PART = {"HX-Request": "true"}
ORIGINS = GeneratedImage.Origin


def found(page: str) -> list[str]:
    return re.findall(r'data-id="([0-9a-f-]{36})"', page)


def search(client: Client, **query: object) -> list[str]:
    return found(client.get(GALLERY, query).content.decode())


def ids(*pictures: GeneratedImage) -> list[str]:
    return [str(picture.pk) for picture in pictures]


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 3)


def all_pages(client: Client, **query: object) -> list[list[str]]:
    """By the addresses that the pages themselves name."""
    page = client.get(GALLERY, query, headers=PART).content.decode()
    seen = [found(page)]
    while match := re.search(r'<li class="tile-more"><a class="plain" href="([^"]+)"', page):
        page = client.get(match[1].replace("&amp;", "&"), headers=PART).content.decode()
        seen.append(found(page))
    return seen


# ---------------------------------------------------------------- what is found


def test_the_newest_come_first_and_uploads_are_left_out(here: Client) -> None:
    older, newer = make_picture(), make_picture()
    upload = make_picture(origin=ORIGINS.UPLOADED)
    assert search(here) == ids(newer, older)
    assert search(here, origin="uploaded") == ids(upload)


@pytest.mark.parametrize("words", ["lake", "LAKE sunset", "sun ake"])
def test_all_words_must_be_in_the_prompt(here: Client, words: str) -> None:
    lake = make_picture(prompt="a serene lake at sunset")
    make_picture(prompt="a house at noon")
    assert search(here, q=words) == ids(lake)


def test_a_seed_is_found_by_its_number(here: Client) -> None:
    picture = make_picture(seed=4711)
    make_picture(seed=47110)
    assert search(here, q="seed:4711") == ids(picture)


def test_every_filter_finds_what_it_says(here: Client) -> None:
    picture = make_picture(
        model_id="other", rating=4, favourite=True, clip_score=31.0, origin=ORIGINS.UPSCALED, width=1024, height=512
    )
    set_tags(picture, ["best of all"])
    make_picture(rating=2, clip_score=20.0, width=512, height=512)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for query in (
        {"model": "other"}, {"rating": "4"}, {"favourite": "yes"}, {"match": "30.5"}, {"origin": "upscaled"}, {"shape": "wide"},
        {"side": "1024"}, {"tag": "best of all"}, {"tag": "best of all", "rating": "3", "from": today, "to": today},
    ):  # fmt: skip
        assert search(here, **query) == ids(picture), query


def test_days_are_whole_days_in_utc(here: Client) -> None:
    picture = make_picture()
    day = datetime.now(UTC)
    assert search(here, **{"from": f"{day:%Y-%m-%d}"}) == ids(picture)
    assert search(here, to=f"{day - timedelta(days=1):%Y-%m-%d}") == []
    assert first_id_of(day.replace(hour=0, minute=0, second=0, microsecond=0)) <= picture.pk


@pytest.mark.parametrize(("name", "value"), [("from", "yesterday"), ("to", "9999-99-99"), ("match", "nan"), ("match", "-1")])
def test_a_filter_that_cant_be_read_is_said_and_filters_nothing(here: Client, name: str, value: str) -> None:
    picture = make_picture()
    page = here.get(GALLERY, {name: value}).content.decode()
    assert found(page) == ids(picture)
    assert '<span class="error" role="alert">' in page


@pytest.mark.parametrize(
    "query", ["order=best", "rating=6", "origin=%00", "shape=x", "after=x", "after=~", "after=nan~x", "q=%00", "tag=%00"]
)
def test_rubbish_in_the_address_is_no_error_of_the_server(here: Client, query: str) -> None:
    make_picture()
    assert here.get(f"{GALLERY}?{query}").status_code == 200


@pytest.mark.parametrize("order", query_module.ORDERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "9" * 400, "1e300", "-1e300", "5.5", "1_0", "", "x"])
def test_no_place_in_an_order_is_an_error_of_the_server(here: Client, order: str, value: str) -> None:
    picture = make_picture(rating=3, clip_score=50.0)
    for place in (f"{value}~{picture.pk}", f"{value}~", value):
        assert here.get(GALLERY, {"order": order, "after": place}).status_code == 200


# ---------------------------------------------------------------- orders and pages


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("newest", lambda one: one.pk),
        ("match", lambda one: (one.clip_score, one.pk)),
        ("rating", lambda one: (one.rating, one.pk)),
    ],
)
@pytest.mark.usefixtures("short_pages")
def test_pages_follow_each_other_without_a_gap_in_every_order(here: Client, order: str, key: object) -> None:
    pictures = [make_picture(rating=1 + place % 3, clip_score=20.0 + place % 2) for place in range(8)]
    make_picture(rating=None, clip_score=None)
    expected = sorted(pictures, key=key, reverse=True)  # type: ignore[arg-type]
    seen = [one for page in all_pages(here, order=order) for one in page]
    assert seen[: len(expected)] == ids(*expected) if order != "newest" else seen[1:] == ids(*expected)


@pytest.mark.usefixtures("short_pages")
def test_the_oldest_first_is_the_newest_first_backwards(here: Client) -> None:
    for _ in range(7):
        make_picture()
    there = [one for page in all_pages(here, order="oldest") for one in page]
    assert there[::-1] == [one for page in all_pages(here) for one in page]


@pytest.mark.usefixtures("short_pages")
@pytest.mark.parametrize("order", ["newest", "oldest", "match", "rating"])
def test_a_page_looks_through_a_bounded_number_of_pictures(here: Client, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_SEEN", 4)
    monkeypatch.setattr(pages, "MOST_SEEN_BY_VALUE", 4)
    rare = [
        make_picture(prompt="a zebra" if place in (0, 9) else "a lake", rating=1 + place % 5, clip_score=9.0)
        for place in range(10)
    ]
    seen = all_pages(here, order=order, q="zebra")
    assert len(seen) == 3
    assert sorted(one for page in seen for one in page) == sorted(ids(rare[0], rare[9]))


def test_a_search_that_found_nothing_yet_offers_to_go_on(here: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_SEEN", 2)
    for _ in range(3):
        make_picture()
    page = here.get(GALLERY, {"q": "zebra"}).content.decode()
    assert "search the older pictures, too" in page
    assert 'id="nothing"' not in page


def test_no_pictures_at_all_is_said_otherwise_than_none_like_that(here: Client) -> None:
    assert "No pictures yet." in here.get(GALLERY).content.decode()
    assert "No picture is like that." in here.get(GALLERY, {"q": "zebra"}).content.decode()


def test_many_pictures_ask_no_more_queries_than_few(here: Client, django_assert_max_num_queries: object) -> None:
    for _ in range(12):
        set_tags(make_picture(), ["one"])
    with django_assert_max_num_queries(6):  # type: ignore[operator]
        here.get(GALLERY)


# ---------------------------------------------------------------- many at once


def change(client: Client, *pictures: GeneratedImage, **data: str) -> dict:
    reply = client.post(CHANGE, {"ids": ",".join(ids(*pictures)), **data}, headers=PART)
    return {"status": reply.status_code, **reply.json()}


def test_many_pictures_are_rated_marked_and_tagged_at_once(here: Client) -> None:
    one, two, other = make_picture(), make_picture(), make_picture()
    set_tags(one, ["old"])
    said = change(here, one, two, action="rate:4")
    assert {tuple(image.values()) for image in said["images"]} == {(str(picture.pk), 4, False) for picture in (one, two)}
    change(here, one, two, action="favourite:yes")
    change(here, one, two, action="tag", value="new, best")
    change(here, one, two, action="untag", value="best")
    for picture in (one, two, other):
        picture.refresh_from_db()
    assert [(picture.rating, picture.favourite) for picture in (one, two, other)] == [(4, True), (4, True), (None, False)]
    assert [sorted(tag.name for tag in picture.tags.all()) for picture in (one, two, other)] == [["new", "old"], ["new"], []]


def test_stars_are_taken_back(here: Client) -> None:
    picture = make_picture()
    change(here, picture, action="rate:4")
    change(here, picture, action="rate:0")
    picture.refresh_from_db()
    assert picture.rating is None


def test_many_are_deleted_and_those_that_were_gone_are_said(here: Client) -> None:
    one, two, kept = make_picture(), make_picture(), make_picture()
    two.file.delete()
    said = change(here, one, two, action="delete")
    assert said["gone"] == ids(two)
    assert said["detail"] == "1 picture was deleted. 1 is not there any more."
    assert list(GeneratedImage.objects.values_list("pk", flat=True)) == [kept.pk]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"action": "burn"}, "nothing to do by this name"),
        ({"action": "rate:6"}, "1 to 5 stars"),
        ({"action": "favourite:maybe"}, "yes or no"),
        ({"action": "tag", "value": " , "}, "Write a tag first"),
        ({"action": "tag", "value": "x" * 51}, "up to 50 letters"),
        ({"action": "tag", "value": ",".join(map(str, range(21)))}, "up to 20 tags"),
        ({"action": "delete", "ids": ""}, "Choose pictures first"),
        ({"action": "delete", "ids": "1,2"}, "no pictures' ids"),
        ({"action": "delete", "ids": ",".join(["0197c0de-0000-7000-8000-000000000000"] * 501)}, "Up to 500 pictures"),
    ],
)
def test_what_cant_be_done_is_a_sentence_and_changes_nothing(here: Client, data: dict, words: str) -> None:
    picture = make_picture()
    reply = here.post(CHANGE, {"ids": str(picture.pk), **data}, headers=PART)
    assert reply.status_code == 422
    assert words in reply.json()["detail"]
    picture.refresh_from_db()
    assert (picture.rating, picture.favourite, picture.tags.count()) == (None, False, 0)


def test_without_scripts_one_is_back_in_the_list_and_reads_what_was_done(here: Client) -> None:
    picture = make_picture()
    came_from = f"http://testserver{GALLERY}?q=red"
    reply = here.post(CHANGE, {"ids": [str(picture.pk)], "action": "rate:5"}, headers={"Referer": came_from}, follow=True)
    assert reply.redirect_chain == [(f"{GALLERY}?q=red", 302)]
    assert "1 picture was changed." in reply.content.decode()


# ---------------------------------------------------------------- one picture


def test_a_picture_shows_all_that_made_it_and_commands_for_it(here: Client) -> None:
    job = make_job(params={**make_job().params, "clip_skip": 2, "prompt": "it's a lake", "seed": 77}, prompt="it's a lake")
    page = here.get(f"/studio/images/{make_picture(job).pk}/").content.decode()
    for shown in (
        "clip skip",
        "Copy seed",
        'data-copy-text="77"',
        "curl http://testserver/api/txt2img/",
        "Negative prompt: blurry",
    ):
        assert shown in page, shown
    assert "it&#x27;&quot;&#x27;&quot;&#x27;s a lake" in page  # quoted for a shell
    assert "DARKROOM_KEY" not in page


def test_lineage_leads_both_ways_and_the_candidates_are_shown(here: Client) -> None:
    source = make_picture()
    edited = make_picture(origin=ORIGINS.EDITED, strength=0.5)
    link_sources(edited, [("control", source)])
    assert f'href="/studio/images/{edited.pk}/"' in here.get(f"/studio/images/{source.pk}/").content.decode()
    page = here.get(f"/studio/images/{edited.pk}/").content.decode()
    assert f'href="/studio/images/{source.pk}/"' in page
    assert "<span>Control</span>" in page
    contest = make_contest().images.get()
    assert "The best of 3 by prompt match" in here.get(f"/studio/images/{contest.pk}/").content.decode()


def test_one_picture_is_judged_where_it_is_shown(here: Client) -> None:
    picture = make_picture()
    address = f"/studio/images/{picture.pk}/change"
    reply = here.post(address, {"action": "rate:3"}, headers=PART)
    assert reply.content.decode().count("star lit") == 3
    assert '"rating": 3' in reply.headers["HX-Trigger"]
    assert "up to 50 letters" in here.post(address, {"action": "tags", "value": "x" * 51}, headers=PART).content.decode()
    assert here.post(address, {"action": "delete"}, headers=PART).headers["HX-Trigger"].startswith('{"darkroom:deleted"')
    assert here.post(address, {"action": "rate:3"}, headers=PART).status_code == 404


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    "address", [GALLERY, "/studio/images/0197c0de-0000-7000-8000-000000000000/", "/studio/history", "/studio/loras"]
)
def test_a_stranger_sees_nothing(stranger: Client, address: str) -> None:
    assert stranger.get(address).status_code == 302
    assert "HX-Redirect" in stranger.get(address, headers=PART).headers


POSTS = (
    CHANGE,
    "/studio/images/0197c0de-0000-7000-8000-000000000000/change",
    "/studio/read-picture",
    "/studio/tokens",
    "/studio/models/load",
)


@pytest.mark.parametrize("address", POSTS)
def test_a_stranger_changes_nothing_and_neither_does_another_site(stranger: Client, admin_user: User, address: str) -> None:
    assert stranger.post(address, {"action": "delete"}).status_code == 302
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    assert browser.post(address, {"action": "delete"}).status_code == 403


def test_owners_see_and_change_only_their_own(db: None) -> None:
    key, token = create_key(name="mine", scopes=[READ, SUBMIT])
    mine = make_picture(make_job(owner_key=key.prefix))
    other = make_picture()
    set_tags(other, ["their tag"])
    client = Client(headers={"Authorization": f"Bearer {token}"})
    page = client.get(GALLERY).content.decode()
    assert found(page) == ids(mine)
    assert "their tag" not in page
    assert client.get(f"/studio/images/{other.pk}/").status_code == 404
    said = change(client, mine, other, action="rate:5")
    assert said["gone"] == ids(other)
    other.refresh_from_db()
    assert other.rating is None


def test_a_key_that_may_only_look_changes_nothing(db: None) -> None:
    key, token = create_key(name="looks", scopes=[READ])
    picture = make_picture(make_job(owner_key=key.prefix))
    client = Client(headers={"Authorization": f"Bearer {token}"})
    page = client.get(GALLERY).content.decode()
    assert found(page) == ids(picture)
    assert 'id="selection"' not in page
    assert client.post(CHANGE, {"ids": str(picture.pk), "action": "delete"}).status_code == 403
    assert GeneratedImage.objects.filter(pk=picture.pk).exists()
