"""`GET /api/scores/`: the verdicts, newest first, each owner's own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.jobs.models import Job
from api.scoring.models import LayoutScore
from tests.scoring.conftest import encoded, poster

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/scores/"


@pytest.fixture
def verdicts(db: None) -> list[LayoutScore]:
    """Three, of rising quality, the last without a colour score and by another backend."""
    job = Job.objects.create(kind="layout_score", params={}, owner_key="local")
    plain = {"job": job, "owner_key": "local", "model": "m", "device": "cpu", "duration": 0.1, "balance_score": 50}
    return [
        LayoutScore.objects.create(
            **plain,
            index=place,
            aesthetic_score=20.0 + 30 * place,
            color_harmony_score=None if place == 2 else 70.0,
            backend="clip" if place == 2 else "heuristic",
            title=f"number {place}",
        )
        for place in range(3)
    ]


def indices(client: Client, query: str = "", **headers: str) -> list[int]:
    reply = client.get(f"{PATH}?{query}", headers=headers)
    assert reply.status_code == 200, reply.content
    return [score["index"] for score in reply.json()["results"]]


def test_they_come_newest_first_page_by_page(client: Client, verdicts: list[LayoutScore]) -> None:
    first = client.get(f"{PATH}?limit=2").json()
    assert [score["index"] for score in first["results"]] == [2, 1]
    assert [score["index"] for score in client.get(first["next"]).json()["results"]] == [0]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("backend=clip", [2]),
        ("backend=heuristic", [1, 0]),
        ("min_aesthetic_score=50", [2, 1]),
        ("max_aesthetic_score=50", [1, 0]),
        ("min_aesthetic_score=30&max_aesthetic_score=60", [1]),
        ("min_color_harmony_score=0", [1, 0]),
        ("max_balance_score=49.9", []),
        ("created_after=2000-01-01T00:00:00Z", [2, 1, 0]),
        ("created_before=2000-01-01T00:00:00Z", []),
    ],
)
def test_they_can_be_narrowed(client: Client, verdicts: list[LayoutScore], query: str, found: list[int]) -> None:
    assert indices(client, query) == found


@pytest.mark.parametrize("backend", ["custom", "custom:mine", "custom:mine@2"])
def test_a_custom_scorer_is_found_with_and_without_its_version(
    client: Client, verdicts: list[LayoutScore], backend: str
) -> None:
    LayoutScore.objects.filter(index=1).update(backend="custom:mine@2")
    assert indices(client, f"backend={backend}") == [1]


def test_they_can_be_narrowed_to_one_picture(client: Client, score: Callable[..., Job]) -> None:
    image = score({"image": encoded(poster())}).params["image"]
    score({"event_data": {"title": "without a picture"}})
    assert [one["image"] for one in client.get(f"{PATH}?image={image}").json()["results"]] == [image]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("min_aesthetic_score=nan", "min_aesthetic_score"),
        ("max_balance_score=101", "max_balance_score"),
        ("backend=clap", "backend"),
        ("image=x", "image"),
        ("created_after=yesterday", "created_after"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_wrong_filter_is_named(client: Client, query: str, field: str) -> None:
    reply = client.get(f"{PATH}?{query}")
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == field


def test_one_verdict_has_all_that_was_said_and_addresses_that_work(client: Client, score: Callable[..., Job]) -> None:
    job = score({"image": encoded(poster()), "event_data": {"title": "Jazz"}})
    told = client.get(f"{PATH}{job.result['id']}/").json()
    for name in ("aesthetic_score", "reasoning", "measures", "scored", "backend", "model"):
        assert told[name] == job.result[name]
    assert (told["job"], told["event_data"]) == (str(job.pk), {"title": "Jazz"})
    assert client.get(told["overlay_url"]).status_code == client.get(told["image_url"]).status_code == 200
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["created_at"])).total_seconds()) < 60


def test_owners_see_their_own_alone(client: Client, verdicts: list[LayoutScore]) -> None:
    key, secret = create_key(name="somebody else")
    theirs = {"Authorization": f"Bearer {secret}"}
    LayoutScore.objects.filter(index=1).update(owner_key=key.prefix)
    assert indices(client, **theirs) == [1]
    assert client.get(f"{PATH}{verdicts[0].pk}/", headers=theirs).status_code == 404
    assert client.get(f"{PATH}{verdicts[1].pk}/", headers=theirs).status_code == 200


def test_a_page_asks_for_no_row_of_its_own(
    client: Client, verdicts: list[LayoutScore], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(4):
        assert indices(client) == [2, 1, 0]
