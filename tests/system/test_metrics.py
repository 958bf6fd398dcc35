"""/metrics, as Prometheus reads it."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db.models.functions import Now
from django.test import AsyncClient, Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from api.access.services import create_key
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.identifiers import uuid7
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.store import outbox
from api.metric_definitions import workers_lost
from api.system import totals
from api.system.ended_job_counts import count_ended_jobs
from api.system.totals import add_counted, add_to_totals
from api.webhooks.models import Delivery
from tests.jobs.conftest import at_once
from tests.system.conftest import DEVICE, MakeJob, bearer

pytestmark = pytest.mark.django_db
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(client: Client) -> Samples:
    text = client.get("/metrics").content.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def value(client: Client, name: str, **labels: str) -> float | None:
    return read(client).get((name, tuple(sorted(labels.items()))))


def end(job: Job, status: Status = Status.SUCCEEDED, *, seconds: float | None = 4.0) -> None:
    """It ends, after `seconds` of running (None: no worker had begun it)."""
    if seconds is not None:
        Job.objects.filter(pk=job.pk).update(started_at=Now() - timedelta(seconds=seconds))
    with transaction.atomic():
        lifecycle.end_job(job, status, None, from_status=Status.QUEUED)


def test_webhooks_that_wait_and_those_that_were_given_up_are_counted(client: Client, make_job: MakeJob) -> None:
    for status, count in (("pending", 2), ("failed", 1), ("delivered", 3)):
        for _ in range(count):
            Delivery.objects.create(job_id=uuid7(), owner_key="a", url="http://a", event="completed", body="{}", status=status)
    hook: Any = {"url": "http://a", "events": ["completed"], "origin": ""}
    job = make_job()
    Job.objects.filter(pk=job.pk).update(webhook=hook)
    end(Job.objects.get(pk=job.pk))
    counts = {status: value(client, "darkroom_webhook_deliveries", status=status) for status in Delivery.Status.values}
    assert counts == {"pending": 3, "failed": 1, "stopped": 0, "delivered": None}


def test_it_is_prometheus_text(client: Client) -> None:
    assert client.get("/metrics")["Content-Type"].startswith("text/plain; version=0.0.4")


def test_it_speaks_openmetrics_where_that_is_asked(client: Client) -> None:
    reply = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply["Content-Type"].startswith("application/openmetrics-text")
    assert "darkroom_info" in {family.name for family in parse_openmetrics(reply.content.decode())}


def test_it_needs_a_key_that_may_read(outside: Client) -> None:
    _, reading = create_key(name="Prometheus", scopes=["read"])
    _, submitting = create_key(name="a client", scopes=["submit"])
    assert outside.get("/metrics").status_code == 401
    assert outside.get("/metrics", headers=bearer(submitting)).status_code == 403
    assert outside.get("/metrics", headers=bearer(reading)).status_code == 200


def test_it_shows_the_queue(client: Client, make_job: MakeJob) -> None:
    waiting = make_job()
    make_job(status=Status.RUNNING)
    Job.objects.filter(pk=waiting.pk).update(created_at=Now() - timedelta(seconds=90))
    assert value(client, "darkroom_jobs", status="queued") == 1
    assert value(client, "darkroom_jobs", status="running") == 1
    assert value(client, "darkroom_queue_oldest_seconds") == pytest.approx(90, abs=5)


def test_it_shows_the_workers_and_their_models(client: Client, make_worker: Callable[..., Worker]) -> None:
    make_worker()
    assert value(client, "darkroom_workers", state="idle") == 1
    assert value(client, "darkroom_workers", state="busy") == 0
    assert value(client, "darkroom_model_loaded_bytes", model_id="starter") == 24_000_000


def test_it_shows_the_disk(client: Client) -> None:
    assert (value(client, "darkroom_disk_free_bytes", folder="media") or 0) > 0


def test_it_counts_jobs_that_ended_by_kind_model_and_outcome(client: Client, make_job: MakeJob) -> None:
    end(make_job())
    end(make_job())
    end(make_job(), Status.FAILED)
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="succeeded") == 2
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="failed") == 1
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="cancelled") == 0


def test_a_job_is_counted_once(client: Client, make_job: MakeJob) -> None:
    end(make_job())
    read(client)
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="succeeded") == 1


def test_a_job_that_was_open_for_long_is_counted_when_it_ends(client: Client, make_job: MakeJob) -> None:
    old = make_job()
    end(make_job(model_id="another"))
    read(client)
    end(old)
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="succeeded") == 1


def test_a_count_outlives_the_history(client: Client, make_job: MakeJob) -> None:
    end(make_job())
    read(client)
    Job.objects.all().delete()
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="succeeded") == 1


def test_a_job_is_counted_that_was_deleted_before_anybody_asked(client: Client, make_job: MakeJob) -> None:
    end(make_job())
    Job.objects.all().delete()
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="succeeded") == 1


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_the_same_time_count_each_job_once(
    client: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "CHUNK", 3)
    for number in range(40):
        end(make_job(model_id=f"model-{number % 3}"))
    done = at_once([count_ended_jobs] * 8, 8)
    assert done == [None] * 8
    counts = [
        value(client, "darkroom_jobs_finished_total", kind="load_model", model_id=f"model-{n}", status="succeeded")
        for n in range(3)
    ]
    assert counts == [14, 13, 13]


def test_it_shows_how_long_jobs_ran(client: Client, make_job: MakeJob) -> None:
    end(make_job(), seconds=0.2)
    end(make_job(), seconds=4.0)
    labels = {"kind": "load_model", "model_id": "starter"}
    assert value(client, "darkroom_job_run_seconds_bucket", le="0.25", **labels) == 1
    assert value(client, "darkroom_job_run_seconds_count", **labels) == 2
    assert value(client, "darkroom_job_run_seconds_sum", **labels) == pytest.approx(4.2, abs=0.1)


def test_a_job_that_was_cancelled_in_the_queue_ran_for_no_time(client: Client, make_job: MakeJob) -> None:
    end(make_job(), Status.CANCELLED, seconds=None)
    assert value(client, "darkroom_jobs_finished_total", kind="load_model", model_id="starter", status="cancelled") == 1
    assert value(client, "darkroom_job_run_seconds_count", kind="load_model", model_id="starter") is None


def test_it_counts_requests_by_pattern_and_not_by_path(client: Client) -> None:
    labels = {"method": "GET", "route": "/api/jobs/<uuid:pk>/", "status": "404"}
    before = value(client, "darkroom_http_requests_total", **labels) or 0
    client.get("/api/jobs/0197c0de-0000-7000-8000-000000000000/")
    client.get("/api/jobs/0197c0de-0000-7000-8000-000000000001/")
    assert value(client, "darkroom_http_requests_total", **labels) == before + 2


def test_addresses_that_lead_nowhere_are_one_series(client: Client) -> None:
    labels = {"method": "GET", "route": "other", "status": "404"}
    before = value(client, "darkroom_http_requests_total", **labels) or 0
    client.get("/wp-login.php")
    client.get("/.env")
    assert value(client, "darkroom_http_requests_total", **labels) == before + 2


@pytest.mark.django_db(transaction=True)
async def test_requests_are_counted_under_asgi_too(async_client: AsyncClient) -> None:
    await async_client.get("/api/health/")
    text = (await async_client.get("/metrics")).content.decode()
    assert 'darkroom_http_requests_total{method="GET",route="/api/health/",status="200"}' in text


# ---------------------------------------------------------------- totals of all processes


def test_what_processes_count_adds_up_and_outlives_them(client: Client) -> None:
    def one_process(number: int) -> None:
        add_to_totals({("darkroom_workers_lost", (), ""): 1.0, ("darkroom_claim_jobs", ("noop",), str(number % 2)): 1.0})

    workers_lost.add(by=2)
    before = value(client, "darkroom_workers_lost_total")
    assert value(client, "darkroom_placement_wait_seconds_count") == 0  # from the start: an alert sees the first growth
    for number in range(4):
        one_process(number)
    counts = read(client)
    assert counts["darkroom_workers_lost_total", ()] == (before or 0) + 4
    assert counts["darkroom_claim_jobs_bucket", (("kind", "noop"), ("le", "1.0"))] == 2
    assert counts["darkroom_claim_jobs_count", (("kind", "noop"),)] == 4


def test_what_could_not_be_added_is_added_later(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    add_counted()
    workers_lost.add(by=5)
    with monkeypatch.context() as patch:
        patch.setattr(totals, "run", lambda *_: (_ for _ in ()).throw(OperationalError("away")))
        with pytest.raises(OperationalError):
            add_counted()
    assert value(client, "darkroom_workers_lost_total") == 5


@pytest.mark.django_db(transaction=True)
def test_processes_that_add_at_the_same_time_lose_nothing(client: Client) -> None:
    growth = {("darkroom_jobs_submitted", (f"kind {number}", "api"), ""): 1.0 for number in range(30)}
    assert at_once([lambda: add_to_totals(growth)] * 8, 8) == [None] * 8
    found = [number for (name, _), number in read(client).items() if name == "darkroom_jobs_submitted_total"]
    assert found == [8.0] * 30


def test_stages_and_reasons_are_counted_with_a_jobs_end(client: Client, make_job: MakeJob) -> None:
    job = make_job(status=Status.RUNNING, lease_token=None, started_at=Now())
    error = DarkroomError("out_of_memory", 500, "Too large.")
    lifecycle.fail_job(job=Job.objects.get(pk=job.pk), error=error, timings={"queue": 0.2, "denoise": 3.0})
    counts = read(client)
    assert counts["darkroom_job_failures_total", (("kind", "load_model"), ("reason", "out_of_memory"))] == 1
    labels = (("kind", "load_model"), ("stage", "denoise"))
    assert counts["darkroom_job_stage_seconds_sum", labels] == 3.0
    assert counts["darkroom_job_stage_seconds_bucket", (*labels[:1], ("le", "2.5"), *labels[1:])] == 0
    assert counts["darkroom_job_stage_seconds_bucket", (*labels[:1], ("le", "5.0"), *labels[1:])] == 1


def test_fairness_is_told_without_a_series_for_each_owner(client: Client, make_job: MakeJob) -> None:
    for owner, count in (("alice", 3), ("bob", 1)):
        for _ in range(count):
            make_job(owner_key=owner)
    counts = read(client)
    assert (counts["darkroom_queue_owners", ()], counts["darkroom_queue_owner_jobs", ()]) == (2, 3)
    assert counts["darkroom_jobs_active", (("kind", "load_model"), ("status", "queued"))] == 4
    assert "alice" not in client.get("/metrics").content.decode()


def test_the_exposition_keeps_prometheuss_rules(client: Client, make_worker: Callable[..., Worker]) -> None:
    """By its own tool where that is installed (Debian's package prometheus)."""
    make_worker(device={**DEVICE, "model_memory": {"model_limit": 10, "device_free": 5}})
    text = client.get("/metrics").content.decode()
    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families if not (family.documentation and family.name.startswith("darkroom_"))] == []
    assert len({family.name for family in families}) == len(families)
    wrong = [family.name for family in families if family.type == "unknown" or family.name.endswith(("_ms", "_mb", "_percent"))]
    assert wrong == []
    if promtool := shutil.which("promtool"):
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert checked.stdout + checked.stderr == ""
