"""The wall of pictures in the admin, and the page of one."""

from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.images.models import GeneratedImage, Tag
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db
WALL = "/admin/images/generatedimage/"


def listed(client: Client, query: str = "") -> str:
    reply = client.get(f"{WALL}{query}")
    assert reply.status_code == 200
    return reply.content.decode()


def order_of(page: str, *pictures: GeneratedImage) -> list[int]:
    """The places of these pictures on the wall, by their position in the arguments; those that are missing are left out."""
    found = [(page.find(f"/api/images/{picture.pk}/thumbnail/"), number) for number, picture in enumerate(pictures)]
    return [number for place, number in sorted(found) if place >= 0]


def queries_of(client: Client) -> int:
    cache.clear()
    with CaptureQueriesContext(connection) as captured:
        listed(client)
    return len(captured)


def page_of(picture: GeneratedImage) -> str:
    return f"{WALL}{picture.pk}/change/"


def test_pictures_hang_newest_first_with_their_words_and_scores(staff: Client) -> None:
    old, new = make_picture(prompt="the old one"), make_picture(clip_score=31.24, rating=4)
    page = listed(staff)
    assert order_of(page, old, new) == [1, 0]
    for shown in ("the old one", "match 31.2", "Rated 4 of 5"):
        assert shown in page


@pytest.mark.parametrize(("sort", "expected"), [("oldest", [0, 1, 2]), ("clip", [1, 0]), ("rating", [2, 0])])
def test_the_wall_is_sorted(staff: Client, sort: str, expected: list[int]) -> None:
    pictures = [make_picture(clip_score=20, rating=1), make_picture(clip_score=30), make_picture(rating=5)]
    assert order_of(listed(staff, f"?sort={sort}"), *pictures) == expected


@pytest.mark.parametrize(
    "query",
    ["?model=other&made=today", "?rated=5", "?rated=any", "?favourite__exact=1", "?tag=keep", "?q=lighthouse", "?q=seed:77"],
)
def test_filters_and_search_leave_what_was_asked_for(staff: Client, query: str) -> None:
    other = make_picture()
    wanted = make_picture(make_job(model_id="other"), rating=5, favourite=True, prompt="a lighthouse", seed=77)
    wanted.tags.add(Tag.objects.create(name="keep"))
    assert order_of(listed(staff, query), other, wanted) == [1]


def scored(model: str, score: float) -> GeneratedImage:
    return make_picture(scores={"clip_model": model, "clip_score": score}, clip_score=score)


@pytest.mark.parametrize(("quarter", "place"), [("4", 3), ("3", 2), ("2", 1), ("1", 0)])
def test_pictures_are_found_by_the_quarter_of_their_own_models_scores(staff: Client, quarter: str, place: int) -> None:
    models = {"clip-b": (20, 24, 27, 31), "starter-clip": (0, 40, 80, 90), "narrow": (9.1, 9.2, 9.3, 9.4)}
    pictures = [scored(model, scores[number]) for model, scores in models.items() for number in range(4)]
    found = order_of(listed(staff, f"?match={quarter}"), *pictures)
    assert sorted(found) == [place, 4 + place, 8 + place]


def test_where_one_model_scored_all_the_quarters_say_where_they_end(staff: Client) -> None:
    for score in (0, 40, 80, 100):
        scored("starter-clip", score)
    page = staff.get(WALL).content.decode()
    labels = ["Best quarter (85.0 and more)", "Second quarter (60.0 to 85.0)", "Third quarter (30.0 to 60.0)"]
    for label in (*labels, "Lowest quarter (below 30.0)"):
        assert label in page


def test_pictures_without_a_score_are_found(staff: Client) -> None:
    without, with_one = make_picture(), scored("starter-clip", 0)
    assert order_of(listed(staff, "?match=none"), without, with_one) == [0]


def test_pictures_without_a_rating_are_found(staff: Client) -> None:
    unrated, rated = make_picture(), make_picture(rating=1)
    assert order_of(listed(staff, "?rated=none"), unrated, rated) == [0]


def test_many_pictures_ask_no_more_queries_than_few(staff: Client) -> None:
    make_picture(rating=3).tags.add(Tag.objects.create(name="one"))
    few = queries_of(staff)
    for number in range(20):
        make_picture(rating=4).tags.add(Tag.objects.create(name=f"tag {number}"))
    assert queries_of(staff) == few


def test_the_page_of_a_picture_tells_all_that_made_it(staff: Client) -> None:
    source = make_picture()
    picture = make_picture(source=source, scores={"layout": 7.2}, strength=0.6)
    derived = make_picture(source=picture)
    page = staff.get(page_of(picture)).content.decode()
    for shown in (f"/api/images/{picture.pk}/file/", "a red circle above", "blurry", "layout", "7.2", "0.6", "output_format"):
        assert shown in page
    for link in (f"/admin/jobs/job/{picture.job_id}/change/", page_of(source), page_of(derived), f"/?again={picture.pk}"):
        assert f'href="{link}"' in page


def test_a_picture_is_judged(staff: Client) -> None:
    picture = make_picture()
    staff.post(page_of(picture), {"rating": "4", "favourite": "on", "tag_names": "poster, client A,poster"})
    picture.refresh_from_db()
    assert (picture.rating, picture.favourite) == (4, True)
    assert [tag.name for tag in picture.tags.all()] == ["client A", "poster"]


def test_a_judgement_is_taken_back(staff: Client) -> None:
    picture = make_picture(rating=5, favourite=True)
    staff.post(page_of(picture), {"rating": "", "tag_names": ""})
    picture.refresh_from_db()
    assert (picture.rating, picture.favourite) == (None, False)


@pytest.mark.parametrize("rating", ["0", "6", "x"])
def test_a_rating_that_is_none_is_refused(staff: Client, rating: str) -> None:
    picture = make_picture(rating=2)
    reply = staff.post(page_of(picture), {"rating": rating, "tag_names": ""})
    picture.refresh_from_db()
    assert reply.status_code == 200
    assert "errorlist" in reply.content.decode()
    assert picture.rating == 2


def test_nothing_but_the_judgement_can_be_changed(staff: Client) -> None:
    picture = make_picture()
    staff.post(page_of(picture), {"rating": "1", "tag_names": "", "prompt": "another", "seed": "1"})
    picture.refresh_from_db()
    assert (picture.prompt, picture.seed) == ("a red circle above a blue square", 42)


def test_pictures_are_marked_from_the_wall(staff: Client) -> None:
    pictures = [make_picture(), make_picture()]
    staff.post(WALL, {"action": "mark", "_selected_action": [str(picture.pk) for picture in pictures]})
    assert GeneratedImage.objects.filter(favourite=True).count() == 2


def test_deleting_a_picture_removes_its_files(staff: Client, django_capture_on_commit_callbacks: object) -> None:
    picture = make_picture()
    files = [Path(settings.MEDIA_ROOT) / name for name in (picture.file.name, picture.file.thumbnail_name)]
    assert all(file.exists() for file in files)
    with django_capture_on_commit_callbacks(execute=True):
        staff.post(f"{WALL}{picture.pk}/delete/", {"post": "yes"})
    assert not any(file.exists() for file in files)


def test_a_person_who_is_logged_in_gets_the_pictures_themselves(staff: Client) -> None:
    picture = make_picture(make_job(owner_key="somebody"))
    for which in ("thumbnail", "file"):
        reply = staff.get(f"/api/images/{picture.pk}/{which}/", REMOTE_ADDR="192.0.2.7")
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("image/")
