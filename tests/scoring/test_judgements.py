"""Stars and choices over HTTP: what is kept, who sees it, what is refused."""

import uuid
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from api.access.services import create_key
from api.images.models import GeneratedImage
from api.scoring.models import Comparison, LayoutScore, Rating
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db
NOBODYS = "0197c0de-0000-7000-8000-000000000000"
Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def _media(media: Any) -> None:
    """Files of this test alone."""


@pytest.fixture
def send(client: Client) -> Send:
    def post(body: Any, path: str = "/api/ratings/", **headers: str) -> Any:
        return client.post(path, body, content_type="application/json", headers=headers)

    return post


@pytest.fixture
def patch(client: Client) -> Send:
    def change(picture: GeneratedImage, **body: Any) -> Any:
        return client.patch(f"/api/images/{picture.pk}/", body, content_type="application/json")

    return change


def make_layout(owner_key: str = "local") -> LayoutScore:
    job = make_job(kind="layout_score", owner_key=owner_key)
    return LayoutScore.objects.create(
        job=job, index=0, owner_key=owner_key, backend="heuristic", model="m", device="cpu", duration=0.1
    )


def with_key(name: str, *scopes: str) -> tuple[str, dict[str, str]]:
    key, token = create_key(name=name, scopes=scopes or None)
    return key.prefix, {"Authorization": f"Bearer {token}"}


def stars_of(picture: GeneratedImage) -> int | None:
    return GeneratedImage.objects.get(pk=picture.pk).rating


# ---------------------------------------------------------------- ratings


def test_a_picture_is_rated(send: Send) -> None:
    picture = make_picture()
    reply = send({"image": str(picture.pk), "rating": 4})
    assert reply.status_code == 201
    row = reply.json()
    assert (row["image"], row["layout"], row["rating"], row["rater"]) == (str(picture.pk), None, 4, "local")
    assert stars_of(picture) == 4


def test_a_layout_is_rated(send: Send) -> None:
    layout = make_layout()
    assert send({"layout": str(layout.pk), "rating": 2}).json()["layout"] == str(layout.pk)
    assert layout.ratings.get().stars == 2


def test_rating_again_replaces_ones_own_rating(send: Send, client: Client) -> None:
    picture = make_picture()
    first, second = (send({"image": str(picture.pk), "rating": stars}).json() for stars in (4, 2))
    assert first["id"] == second["id"]
    assert client.get("/api/ratings/").json()["results"] == [second]
    assert stars_of(picture) == 2


def test_a_rating_by_patch_is_the_same_row(send: Send, patch: Send) -> None:
    picture = make_picture()
    rated = send({"image": str(picture.pk), "rating": 4}).json()
    assert patch(picture, rating=5).json()["rating"] == 5
    row = Rating.objects.get()
    assert (str(row.pk), row.stars, row.owner_key) == (rated["id"], 5, "local")


def test_null_by_patch_takes_all_stars_of_the_picture_back(patch: Send) -> None:
    picture = make_picture()
    picture.file.ratings.give(owner_key="user:1", stars=3)
    patch(picture, rating=5)
    assert patch(picture, rating=None).json()["rating"] is None
    assert Rating.objects.count() == 0


def test_the_picture_shows_the_newest_stars_of_several_raters_and_the_older_once_those_are_gone(client: Client) -> None:
    picture = make_picture()
    picture.file.ratings.give(owner_key="first", stars=2)
    newer = picture.file.ratings.give(owner_key="second", stars=5)
    assert stars_of(picture) == 5
    assert client.delete(f"/api/ratings/{newer.pk}/").status_code == 204
    assert stars_of(picture) == 2


def test_patching_something_else_leaves_the_stars_alone(patch: Send) -> None:
    picture = make_picture()
    patch(picture, rating=4)
    patch(picture, favourite=True)
    assert Rating.objects.get().stars == stars_of(picture) == 4


def test_pictures_are_filtered_and_sorted_by_stars_that_were_given_as_rows(send: Send, client: Client) -> None:
    pictures = [make_picture() for _ in range(3)]
    for picture, stars in zip(pictures, (3, 5), strict=False):
        send({"image": str(picture.pk), "rating": stars})
    shown = client.get("/api/images/?order=rating").json()["results"]
    assert [image["rating"] for image in shown] == [5, 3]
    assert client.get("/api/images/?rating=5").json()["results"][0]["id"] == str(pictures[1].pk)


def test_stars_go_with_their_picture(send: Send, client: Client) -> None:
    pictures = [make_picture() for _ in range(2)]
    send({"image": str(pictures[0].pk), "rating": 4})
    send({"images": [str(picture.pk) for picture in pictures], "preferred": None}, "/api/comparisons/")
    client.delete(f"/api/images/{pictures[0].pk}/")
    assert (Rating.objects.count(), Comparison.objects.count()) == (0, 0)


@pytest.mark.parametrize("rating", [0, 6, -1, 2.5, 4.0, "x", "4", True, None, [3], {}, 10**400])
def test_anything_but_a_whole_number_from_1_to_5_is_refused(send: Send, rating: Any) -> None:
    reply = send({"image": str(make_picture().pk), "rating": rating})
    assert reply.status_code == 400
    assert [error["field"] for error in reply.json()["errors"]] == ["rating"]
    assert Rating.objects.count() == 0


@pytest.mark.parametrize("subject", [NOBODYS, "x", 7, "", ["a"], "../../etc/passwd"])
def test_an_unknown_subject_is_refused_by_name(send: Send, subject: Any) -> None:
    for field in ("image", "layout"):
        reply = send({field: subject, "rating": 3})
        assert reply.status_code == 400
        assert [error["field"] for error in reply.json()["errors"]] == [field]


def test_one_subject_and_no_more_must_be_named(send: Send) -> None:
    both = {"image": str(make_picture().pk), "layout": str(make_layout().pk), "rating": 3}
    for body in ({"rating": 3}, {"image": None, "rating": 3}, both):
        reply = send(body)
        assert (reply.status_code, reply.json()["errors"][0]["detail"]) == (400, "Name one of image and layout.")


def test_an_unknown_field_is_refused_with_the_nearest(send: Send) -> None:
    reply = send({"image": str(make_picture().pk), "ratng": 3})
    assert reply.status_code == 400
    assert "Did you mean 'rating'" in reply.content.decode()


# ---------------------------------------------------------------- comparisons


def pair_of(*pictures: GeneratedImage) -> list[str]:
    return [str(picture.pk) for picture in pictures]


@pytest.mark.parametrize("place", [0, 1, None])
def test_two_pictures_are_compared(send: Send, place: int | None) -> None:
    images = pair_of(make_picture(), make_picture())
    preferred = None if place is None else images[place]
    reply = send({"images": images, "preferred": preferred}, "/api/comparisons/")
    assert reply.status_code == 201
    assert (set(reply.json()["images"]), reply.json()["preferred"]) == (set(images), preferred)


def test_comparing_the_same_two_again_the_other_way_round_replaces_the_choice(send: Send, client: Client) -> None:
    images = pair_of(make_picture(), make_picture())
    send({"images": images, "preferred": images[0]}, "/api/comparisons/")
    send({"images": images[::-1], "preferred": images[1]}, "/api/comparisons/")
    [row] = client.get("/api/comparisons/").json()["results"]
    assert row["preferred"] == images[1]


def test_two_layouts_are_compared(send: Send) -> None:
    layouts = [str(make_layout().pk) for _ in range(2)]
    row = send({"layouts": layouts, "preferred": layouts[1]}, "/api/comparisons/").json()
    assert (row["layouts"], row["images"], row["preferred"]) == (layouts, None, layouts[1])


def test_a_picture_is_not_compared_with_itself(send: Send) -> None:
    [image] = pair_of(make_picture())
    reply = send({"images": [image, image], "preferred": None}, "/api/comparisons/")
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "same")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_comparison_is_of_two(send: Send, count: int) -> None:
    images = pair_of(*(make_picture() for _ in range(count)))
    reply = send({"images": images, "preferred": None}, "/api/comparisons/")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "images")


def test_the_preferred_one_is_one_of_the_two_and_must_be_said(send: Send) -> None:
    images = pair_of(make_picture(), make_picture())
    for body in ({"images": images, "preferred": NOBODYS}, {"images": images}, {"images": images, "preferred": "left"}):
        reply = send(body, "/api/comparisons/")
        assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "preferred")


def test_a_picture_is_not_compared_with_a_layout(send: Send) -> None:
    reply = send({"images": [str(make_picture().pk), str(make_layout().pk)], "preferred": None}, "/api/comparisons/")
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "not_found")


# ---------------------------------------------------------------- lists


def test_ratings_come_newest_first_in_pages(send: Send, client: Client) -> None:
    pictures = [make_picture() for _ in range(5)]
    for picture in pictures:
        send({"image": str(picture.pk), "rating": 3})
    first = client.get("/api/ratings/?limit=3").json()
    second = client.get(first["next"]).json()
    shown = [row["image"] for row in first["results"] + second["results"]]
    assert shown == [str(picture.pk) for picture in reversed(pictures)]


def test_lists_are_filtered(send: Send, client: Client) -> None:
    images = pair_of(make_picture(), make_picture(), make_picture())
    for image, stars in zip(images, (1, 5, 5), strict=True):
        send({"image": image, "rating": stars})
    send({"images": images[:2], "preferred": None}, "/api/comparisons/")
    send({"images": images[1:], "preferred": None}, "/api/comparisons/")
    for query, count in (("rating=5", 2), (f"image={images[0]}", 1), ("rater=local", 3), ("rater=nobody", 0)):
        assert len(client.get(f"/api/ratings/?{query}").json()["results"]) == count
    for query, count in ((f"image={images[1]}", 2), (f"image={images[0]}", 1), (f"layout={NOBODYS}", 0)):
        assert len(client.get(f"/api/comparisons/?{query}").json()["results"]) == count


@pytest.mark.parametrize("query", ["rating=6", "rating=x", "image=x", "limit=0", "cursor=x"])
def test_a_wrong_filter_is_refused(client: Client, query: str) -> None:
    assert client.get(f"/api/ratings/?{query}").status_code == 400


# ---------------------------------------------------------------- whose


def test_anothers_picture_can_be_neither_rated_nor_compared(send: Send) -> None:
    owner, _ = with_key("the owner")
    _, other = with_key("another")
    pictures = [make_picture(make_job(owner_key=owner)) for _ in range(2)]
    for body, path in (
        ({"image": str(pictures[0].pk), "rating": 3}, "/api/ratings/"),
        ({"images": pair_of(*pictures), "preferred": None}, "/api/comparisons/"),
    ):
        reply = send(body, path, **other)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "not_found")


def test_anothers_ratings_are_not_found_and_not_listed(client: Client, send: Send) -> None:
    owner, mine = with_key("the owner")
    _, other = with_key("another")
    rated = send({"image": str(make_picture(make_job(owner_key=owner)).pk), "rating": 3}, **mine).json()
    assert client.get("/api/ratings/", headers=other).json()["results"] == []
    for method in (client.get, client.delete):
        assert method(f"/api/ratings/{rated['id']}/", headers=other).status_code == 404
    assert Rating.objects.count() == 1


def test_staff_rates_and_sees_what_is_anybodys(client: Client, send: Send) -> None:
    owner, mine = with_key("the owner")
    staff, headers = with_key("staff", "staff")
    picture = make_picture(make_job(owner_key=owner))
    send({"image": str(picture.pk), "rating": 3}, **mine)
    send({"image": str(picture.pk), "rating": 1}, **headers)
    assert {row["rater"] for row in client.get("/api/ratings/", headers=headers).json()["results"]} == {owner, staff}
    assert stars_of(picture) == 1


def test_a_key_that_may_only_read_rates_nothing(send: Send) -> None:
    reader, headers = with_key("reader", "read")
    picture = make_picture(make_job(owner_key=reader))
    assert send({"image": str(picture.pk), "rating": 3}, **headers).status_code == 403


# ---------------------------------------------------------------- what was there before


def test_stars_that_pictures_had_become_rows() -> None:
    rated, unrated = make_picture(make_job(owner_key="somebody"), rating=4), make_picture()
    migration = import_module("api.scoring.migrations.0003_ratings_of_pictures")
    migration.keep_stars_as_rows(apps, None)
    row = Rating.objects.get()
    assert (row.file_id, row.owner_key, row.stars) == (rated.pk, "somebody", 4)
    assert unrated.pk != rated.pk
    assert row.pk != uuid.UUID(int=0)
