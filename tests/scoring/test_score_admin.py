"""The verdicts in the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from api.jobs.models import Job
from api.scoring.models import LayoutScore

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:scoring_layoutscore_changelist"
Score = Callable[..., Job]


@pytest.fixture
def scored(score: Score) -> LayoutScore:
    from tests.scoring.conftest import encoded, poster

    job = score({"image": encoded(poster()), "event_data": {"title": "Midsummer Jazz Night"}})
    return LayoutScore.objects.get(job=job)


def test_the_list_shows_the_picture_the_scores_and_the_first_reason(scored: LayoutScore, admin_client: Client) -> None:
    page = admin_client.get(reverse(LIST)).content.decode()
    assert f"/api/images/{scored.image_id}/thumbnail/" in page
    assert f"<strong>{scored.aesthetic_score:.0f}</strong>" in page
    assert "Midsummer Jazz Night" in page


def test_the_page_of_one_shows_picture_overlay_measures_and_reasons(scored: LayoutScore, admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:scoring_layoutscore_change", args=[scored.pk])).content.decode()
    assert f"/api/images/{scored.overlay_id}/file/" in page
    assert f"/api/images/{scored.image_id}/thumbnail/" in page
    assert "center of mass" in page
    assert scored.reasoning[0].split(":")[0] in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("sort=best", True),
        ("backend=heuristic", True),
        ("backend=x", False),
        ("overall=0", False),
        ("q=jazz", True),
        ("made=older", False),
    ],
)
def test_the_list_can_be_narrowed(scored: LayoutScore, admin_client: Client, query: str, shown: bool) -> None:
    page = admin_client.get(f"{reverse(LIST)}?{query}").content.decode()
    assert ("Midsummer Jazz Night</a>" in page) == shown


def test_the_list_counts_no_table_to_its_end_and_asks_for_no_row_of_its_own(
    score: Score, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for title in ("one", "two", "three"):
        score({"event_data": {"title": title}})
    with django_assert_max_num_queries(8):
        assert admin_client.get(reverse(LIST)).status_code == 200


def test_nothing_can_be_added_or_changed(scored: LayoutScore, admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:scoring_layoutscore_add")).status_code == 403
    address = reverse("admin:scoring_layoutscore_change", args=[scored.pk])
    assert admin_client.post(address, {"aesthetic_score": 100}).status_code == 403
