"""The admin's first page."""

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.jobs.admin.tools import first_id_of, midnight
from api.jobs.models import Worker
from api.studio.charts import Day, RunTime, days_chart, nice_ceiling, run_times_chart
from api.studio.dashboard import jobs_by_day, ninth_decile, queue_now, run_times
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def front(client: Client) -> str:
    reply = client.get("/admin/")
    assert reply.status_code == 200
    return reply.content.decode()


def queries_of(client: Client) -> int:
    cache.clear()
    with CaptureQueriesContext(connection) as captured:
        front(client)
    return len(captured)


def ran(seconds: float, **fields: object) -> None:
    now = timezone.now()
    make_job(started_at=now - timedelta(seconds=seconds), finished_at=now, **fields)


def test_an_empty_server_has_a_first_page_too(staff: Client) -> None:
    page = front(staff)
    for shown in ("No job is waiting.", "No worker is running.", "No jobs in these days.", "None yet."):
        assert shown in page


def test_the_first_page_shows_queue_workers_disk_and_pictures(staff: Client) -> None:
    make_job("queued")
    picture = make_picture()
    device = {"device": {"type": "cuda", "name": "A good card"}, "dtype": "float16"}
    Worker.objects.create(
        hostname="here", pid=1, state="busy", device=device, loaded_models=[{"id": "starter", "bytes": 2**21}]
    )
    page = front(staff)
    for shown in ("1<small>queued", "A good card", "starter (2 MiB)", "free of", f"/api/images/{picture.pk}/thumbnail/"):
        assert shown in page


def test_a_silent_worker_stands_out(staff: Client) -> None:
    Worker.objects.create(hostname="here", pid=1, heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert '<p class="bad">last heartbeat 5 min' in front(staff)


def test_jobs_are_counted_by_day_and_state() -> None:
    yesterday = midnight(1) + timedelta(hours=5)
    make_job(id=first_id_of(yesterday), created_at=yesterday)
    make_job("failed")
    make_job()
    days = jobs_by_day()
    assert len(days) == 14
    assert days[-2].counts == {"succeeded": 1}
    assert days[-1].counts == {"succeeded": 1, "failed": 1}


def test_run_times_are_those_of_the_jobs_that_succeeded_by_model() -> None:
    for seconds in (1, 2, 3, 4, 100):
        ran(seconds)
    ran(50, status="failed")
    ran(7, model_id="other")
    rows = {row.model_id: row for row in run_times()}
    assert (rows["starter"].runs, rows["starter"].median, rows["starter"].p90) == (5, 3, 100)
    assert rows["other"].median == 7


@pytest.mark.parametrize("count", range(1, 31))
def test_nine_in_ten_runs_took_the_ninth_decile_or_less_and_it_is_never_below_the_median(count: int) -> None:
    seconds = [float(number**2) for number in range(count)]
    decile = ninth_decile(seconds)
    assert decile >= median(seconds)
    assert sum(value <= decile for value in seconds) >= 0.9 * count


def test_the_oldest_waiting_job_is_told() -> None:
    made = timezone.now() - timedelta(minutes=3)
    make_job("queued", id=first_id_of(made), created_at=made)
    make_job("queued", priority=5)
    assert queue_now()["oldest"].startswith("3 min")


def test_the_queries_do_not_grow_with_the_history(staff: Client) -> None:
    make_picture()
    few = queries_of(staff)
    for _ in range(25):
        make_picture()
    assert queries_of(staff) == few


def test_the_figures_are_counted_once_in_ten_seconds(staff: Client) -> None:
    front(staff)
    with CaptureQueriesContext(connection) as captured:
        front(staff)
    assert not [query for query in captured.captured_queries if "jobs_job" in query["sql"]]


def test_columns_stand_on_one_another_in_proportion() -> None:
    chart = days_chart([Day(NOON, {"succeeded": 6, "failed": 4})])
    succeeded, failed = chart["bars"]
    assert succeeded.height == pytest.approx(1.5 * failed.height, abs=0.02)
    assert failed.y + failed.height == pytest.approx(succeeded.y, abs=0.02)


@pytest.mark.parametrize(("value", "ceiling"), [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (999, 1000), (20_001, 50_000)])
def test_a_scale_ends_at_a_round_number(value: int, ceiling: int) -> None:
    assert nice_ceiling(value) == ceiling


@pytest.mark.parametrize(("jobs", "marks"), [(1, ["0", "1"]), (2, ["0", "1", "2"]), (4, ["0", "5"]), (900, ["0", "500", "1k"])])
def test_the_marks_of_a_count_are_whole_numbers(jobs: int, marks: list[str]) -> None:
    assert [line["text"] for line in days_chart([Day(NOON, {"succeeded": jobs})])["lines"]] == marks


def test_bars_of_run_times_share_one_scale() -> None:
    quick, slow = run_times_chart([RunTime("a", 10, 1.0, 2.0), RunTime("b", 10, 4.0, 8.0)])
    assert slow["median_width"] == pytest.approx(4 * quick["median_width"])


def test_workers_are_listed_with_device_models_and_age(staff: Client) -> None:
    worker = Worker.objects.create(
        hostname="gpu-box",
        pid=7,
        device={"device": {"type": "cuda", "name": "A good card"}, "memory": {"available": 2**30, "total": 2**31}},
        loaded_models=[{"id": "starter", "bytes": 2**20}],
        heartbeat_at=timezone.now() - timedelta(seconds=4),
    )
    for address in ("/admin/jobs/worker/", f"/admin/jobs/worker/{worker.pk}/change/"):
        page = staff.get(address).content.decode()
        for shown in ("gpu-box:7", "A good card", "starter (1 MiB)", "1.0 GiB of 2.0 GiB", "4."):
            assert shown in page
