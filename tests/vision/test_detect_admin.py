"""What was found, in the admin."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from api.jobs.models import Job
from api.vision.models import Detection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
LIST = "admin:vision_detection_changelist"


@pytest.fixture
def job(detect: Callable[..., Job]) -> Job:
    return detect(annotate=True)


def labels(client: Client, query: str = "") -> list[str]:
    page = client.get(f"{reverse(LIST)}?{query}").content.decode()
    return re.findall(r'<th [^>]*class="field-thing"><a [^>]*>([^<]*)</a>', page)


def test_the_list_shows_what_was_found_the_newest_first(job: Job, admin_client: Client) -> None:
    page = admin_client.get(reverse(LIST)).content.decode()
    assert labels(admin_client) == ["xe buýt", "chó", "mèo"]
    assert f"/api/images/{job.params['image']}/thumbnail/" in page
    assert "8, 8: 32 × 32" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("sort=best", ["mèo", "chó", "xe buýt"]),
        ("sort=worst", ["xe buýt", "chó", "mèo"]),
        ("q=buýt", ["xe buýt"]),
        (f"q={unicodedata.normalize('NFD', 'buýt')}", ["xe buýt"]),
        ("q=label:xe", []),
        ("q=label:mèo", ["mèo"]),
        ("model=tiny-yolo", ["xe buýt", "chó", "mèo"]),
        ("model=x", []),
        ("made=older", []),
    ],
)
def test_the_list_can_be_searched_and_narrowed(job: Job, admin_client: Client, query: str, shown: list[str]) -> None:
    assert labels(admin_client, query) == shown


def test_the_page_of_one_draws_its_box_over_the_picture(job: Job, admin_client: Client) -> None:
    cat = Detection.objects.get(label="mèo")
    page = admin_client.get(reverse("admin:vision_detection_change", args=[cat.pk])).content.decode()
    assert f'<image href="/api/images/{cat.image_id}/file/" width="64" height="64"/>' in page
    assert '<rect class="chosen" x="8.00" y="8.00" width="32.00" height="32.00"><title>mèo 0.90</title>' in page
    assert page.count("<rect") == 3
    assert reverse("admin:jobs_job_change", args=[job.pk]) in page


def test_the_page_of_one_whose_picture_was_deleted_says_so(job: Job, admin_client: Client) -> None:
    cat = Detection.objects.get(label="mèo")
    cat.image.delete()
    page = admin_client.get(reverse("admin:vision_detection_change", args=[cat.pk])).content.decode()
    assert "The picture has been deleted." in page


def test_a_jobs_page_shows_the_boxes_and_leads_to_the_annotated_picture(job: Job, admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    assert page.count("<rect") >= 3
    assert "xe buýt" in page
    assert reverse("admin:images_generatedimage_change", args=[job.result["annotated"]["id"]]) in page


def test_a_jobs_page_says_where_nothing_was_found(detect: Callable[..., Job], admin_client: Client) -> None:
    empty = detect(model_id="tiny-red")
    page = admin_client.get(reverse("admin:jobs_job_change", args=[empty.pk])).content.decode()
    assert "Nothing was found." in page


def test_rows_are_not_edited_by_hand(job: Job, admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:vision_detection_add")).status_code == 403
    cat = Detection.objects.first()
    assert admin_client.post(reverse("admin:vision_detection_change", args=[cat.pk]), {"label": "x"}).status_code == 403


def test_the_list_asks_for_no_row_of_its_own(
    detect: Callable[..., Job], admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(3):
        detect()
    with django_assert_max_num_queries(9):
        admin_client.get(reverse(LIST))
