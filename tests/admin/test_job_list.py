"""The admin's list of jobs, short and long."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.jobs.admin.tools import MOST_COUNTED, first_id_of, used_models
from api.jobs.models import Job
from tests.rows import PARAMS, make_job, make_picture

pytestmark = pytest.mark.django_db
LIST = "/admin/jobs/job/"


def listed(client: Client, query: str = "") -> str:
    reply = client.get(f"{LIST}{query}")
    assert reply.status_code == 200
    return reply.content.decode()


def job_at(moment: datetime, **fields: object) -> Job:
    identifier = uuid.UUID(int=first_id_of(moment).int | uuid.uuid4().int % 2**62)
    return make_job(id=identifier, created_at=moment, **fields)


def queries_of(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def test_a_job_is_shown_with_its_state_its_words_and_its_times(staff: Client) -> None:
    now = timezone.now()
    make_job(
        created_at=now - timedelta(seconds=12), started_at=now - timedelta(seconds=10), finished_at=now, owner_key="a1b2c3d4"
    )
    page = listed(staff)
    for shown in ('pill-succeeded">succeeded', PARAMS["prompt"], "starter", "a1b2c3d4", "2.00 s", "10.0 s"):
        assert shown in page


def test_a_job_is_shown_with_its_first_picture(staff: Client) -> None:
    picture = make_picture()
    assert f"/api/images/{picture.pk}/thumbnail/" in listed(staff)


def test_a_second_attempt_is_told(staff: Client) -> None:
    make_job(attempt=2)
    assert "attempt 2" in listed(staff)


def test_a_job_of_a_kind_that_is_gone_is_still_listed(staff: Client) -> None:
    make_job(kind="retired", result={"images": [{"id": "x"}]})
    assert "retired" in listed(staff)


@pytest.mark.parametrize(
    "query", ["?kind=img2img", "?status__exact=failed", "?model=sdxl-base-1.0", "?q=lighthouse", "?q=owner:bob"]
)
def test_filters_and_search_leave_what_was_asked_for(staff: Client, query: str) -> None:
    make_job(prompt="not wanted")
    make_job("failed", kind="img2img", model_id="sdxl-base-1.0", prompt="the lighthouse", owner_key="bob")
    page = listed(staff, query)
    assert "the lighthouse" in page
    assert "not wanted" not in page


def test_a_job_is_found_by_its_id(staff: Client) -> None:
    make_job(prompt="not wanted")
    job = make_job(prompt="the one")
    for identifier in (str(job.pk), str(job.pk)[-12:]):
        page = listed(staff, f"?q={identifier}")
        assert "the one" in page
        assert "not wanted" not in page


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("today", {"now"}),
        ("week", {"now", "days ago"}),
        ("older", {"long ago"}),
        ("2026-01-05", {"long ago"}),
        ("2026-01-06", set()),
    ],
)
def test_jobs_are_filtered_by_date(staff: Client, span: str, expected: set[str]) -> None:
    job_at(timezone.now(), prompt="now")
    job_at(timezone.now() - timedelta(days=4), prompt="days ago")
    job_at(datetime(2026, 1, 5, 23, 59, tzinfo=UTC), prompt="long ago")
    page = listed(staff, f"?made={span}")
    assert {prompt for prompt in ("now", "days ago", "long ago") if f">{prompt}</span>" in page} == expected


def test_a_date_filter_keeps_the_other_filters(staff: Client) -> None:
    make_job()
    page = listed(staff, "?status__exact=succeeded&q=red")
    assert '<input type="hidden" name="status__exact" value="succeeded">' in page
    assert '<input type="hidden" name="q" value="red">' in page


def test_a_long_list_asks_no_more_queries_than_a_short_one(staff: Client) -> None:
    make_picture()
    short = queries_of(staff, LIST)
    for number in range(30):
        make_picture(make_job(model_id=f"model-{number}"))
    assert len(queries_of(staff, LIST)) == len(short)
    assert len(short) <= 7


def test_nothing_can_be_edited_by_hand(staff: Client) -> None:
    job = make_job()
    assert staff.get(f"{LIST}add/").status_code == 403
    assert staff.post(f"{LIST}{job.pk}/change/", {"status": "queued"}).status_code in (200, 403, 405)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert staff.post(f"{LIST}{job.pk}/delete/", {"post": "yes"}).status_code == 403


def test_models_that_jobs_name_are_read_from_the_index() -> None:
    for model_id in ("b", "a", "b", "", "a/x"):
        make_job(model_id=model_id)
    assert used_models(Job) == ["a", "a/x", "b"]


# ---------------------------------------------------------------- a long history


@pytest.fixture
def long_history(db: None) -> None:
    start = timezone.now() - timedelta(days=300)
    Job.objects.bulk_create(
        (
            Job(
                id=first_id_of(start + timedelta(minutes=21 * number)),
                kind="txt2img",
                status="failed" if number % 50 == 0 else "succeeded",
                model_id=f"model-{number % 3}",
                prompt=f"picture {number}",
                owner_key="local",
            )
            for number in range(20_000)
        ),
        batch_size=2_000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def test_a_long_history_is_counted_and_searched_in_bounded_parts(
    staff: Client, long_history: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_counted_to_a_bound_and_says_so(staff)
    monkeypatch.setattr("api.jobs.admin.tools.MOST_SEARCHED", 100)
    is_searched_in_a_part_which_a_date_moves(staff)


def is_counted_to_a_bound_and_says_so(staff: Client) -> None:
    page = listed(staff)
    assert f"{MOST_COUNTED:,}+" in page
    assert "narrow it" in page
    counts = [sql for sql in queries_of(staff, f"{LIST}?status__exact=succeeded") if "COUNT(" in sql and "jobs_job" in sql]
    assert counts
    assert all(f"LIMIT {MOST_COUNTED + 1}" in sql for sql in counts)


def is_searched_in_a_part_which_a_date_moves(staff: Client) -> None:
    assert ">picture 19950</span>" in listed(staff, "?q=19950")
    assert ">picture 7</span>" not in listed(staff, "?q=picture+7")
    day = (
        timezone.now() - timedelta(days=300) + timedelta(minutes=7 * 21)
    )  # picture 7's, which late in the evening is the next one
    assert ">picture 7</span>" in listed(staff, f"?q=picture+7&made={day:%Y-%m-%d}")


QUICK_LISTS = [
    "",
    "?p=100",
    "?kind=txt2img",
    "?model=model-1",
    "?model=model-1&status__exact=failed",
    "?made=today",
    "?made=older",
]


def plan_of(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return [row[3] for row in cursor.fetchall()]


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="reads SQLite's query plans")
def test_the_list_reads_a_long_history_in_an_indexs_order(staff: Client, long_history: None) -> None:
    asked = [sql for query in QUICK_LISTS for sql in queries_of(staff, f"{LIST}{query}")]
    steps = {step for sql in asked if sql.startswith("SELECT") and 'FROM "jobs_job"' in sql for step in plan_of(sql)}
    assert steps
    assert not {step for step in steps if step.startswith("SCAN jobs_job") and "INDEX" not in step}
    assert not {step for step in steps if "TEMP B-TREE" in step}
