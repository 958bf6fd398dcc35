"""Who gets which job, and that no two get the same."""

import re
import time
from datetime import timedelta

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from api.jobs import lifecycle
from api.jobs.api.selectors import queue_position, queue_positions
from api.jobs.kinds import JobKind, get_kind, kind_names
from api.jobs.models import Job, Worker
from api.jobs.notify.channels import subscribe
from api.jobs.retry_policy import RETRY_WAIT_SECONDS
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.store.statements import run
from api.scoring.models import CustomScorer
from tests.jobs.conftest import at_once, now_as
from tests.rows import ANY_PARAMS

pytestmark = pytest.mark.django_db


def test_nothing_waiting_claims_nothing(worker):
    assert lifecycle.claim_jobs(worker=worker) == []


def test_a_claim_counts_the_attempt_and_takes_a_lease(submit, worker):
    submit()
    job = lifecycle.claim_jobs(worker=worker)[0]
    assert (job.status, job.attempt, job.worker) == (Status.RUNNING, 1, worker)
    assert job.lease_token is not None
    assert timedelta(seconds=28) < job.lease_expires_at - job.started_at <= timedelta(seconds=30.1)


def test_the_oldest_is_claimed_first(submit, claim):
    jobs = [submit() for _ in range(3)]
    assert [claim() for _ in range(3)] == jobs


def test_a_higher_priority_goes_before_age(submit, claim):
    old, urgent = submit(), submit(priority=5)
    assert [claim(), claim()] == [urgent, old]


def test_a_job_is_not_claimed_before_its_time(submit, worker):
    job = submit()
    Job.objects.filter(pk=job.pk).update(available_at=Now() + timedelta(seconds=60))
    assert lifecycle.claim_jobs(worker=worker) == []


def test_jobs_of_one_batch_key_are_claimed_together_up_to_the_kinds_limit(submit, worker):
    jobs = [submit(kind="batched") for _ in range(6)]
    claimed = lifecycle.claim_jobs(worker=worker)
    assert claimed == jobs[:4]
    assert len({job.lease_token for job in claimed}) == 1


def test_the_limit_on_batches_of_pictures_is_not_that_of_other_kinds(submit, worker, settings):
    settings.MAX_BATCH = 2
    assert get_kind("txt2img").batch_limit() == get_kind("img2img").batch_limit() == 2
    assert get_kind("layout_score").batch_limit() == get_kind("clip_score").batch_limit() == 32
    jobs = [submit(kind="batched") for _ in range(3)]
    assert lifecycle.claim_jobs(worker=worker) == jobs


def test_another_batch_key_or_kind_is_left_for_later(submit, worker):
    first = submit(kind="batched", params={"key": "a"})
    submit(kind="batched", params={"key": "b"}), submit(kind="noop")
    assert lifecycle.claim_jobs(worker=worker) == [first]


def test_a_job_without_a_batch_key_is_claimed_alone(submit, worker):
    [submit(kind="noop") for _ in range(2)]
    assert len(lifecycle.claim_jobs(worker=worker)) == 1


def test_a_job_that_was_tried_before_is_claimed_alone(submit, worker):
    jobs = [submit(kind="batched") for _ in range(3)]
    Job.objects.update(attempt=1)
    assert [lifecycle.claim_jobs(worker=worker) for _ in range(3)] == [[job] for job in reversed(jobs)]


# ---------------------------------------------------------------- a bad job costs itself


def test_a_job_that_was_never_tried_goes_before_one_that_was(submit, claim):
    tried, fresh = submit(priority=5), submit()
    Job.objects.filter(pk=tried.pk).update(attempt=1)
    assert [claim(), claim()] == [fresh, tried]


def test_a_job_that_let_others_go_first_for_long_enough_takes_its_turn(submit, claim):
    tried, fresh = submit(), submit()
    Job.objects.filter(pk=tried.pk).update(attempt=1, available_at=Now() - timedelta(seconds=RETRY_WAIT_SECONDS + 1))
    assert [claim(), claim()] == [tried, fresh]


def test_a_worker_begins_with_the_newest_while_tried_ones_wait_and_goes_on_in_order(submit, worker):
    """What ended the worker before may have its like at the head of the queue."""
    tried, *rest = [submit() for _ in range(4)]
    Job.objects.filter(pk=tried.pk).update(attempt=1)
    claimed = lifecycle.claim_jobs(worker=worker, is_first=True)
    assert claimed + [lifecycle.claim_jobs(worker=worker)[0] for _ in range(3)] == [rest[2], rest[0], rest[1], tried]


def test_of_rows_that_were_tried_the_least_tried_go_first_and_of_those_the_newest(submit, claim):
    """What was in a batch with a job that ends its worker waits for one end more, and not for each of the attempts of that job."""
    killer, *others = [submit() for _ in range(4)]
    Job.objects.filter(pk=killer.pk).update(attempt=2)
    Job.objects.filter(pk__in=[job.pk for job in others]).update(attempt=1)
    jobs = [now_as(job) for job in (killer, *others)]
    expected = [*reversed(others), killer]
    assert sorted(jobs, key=queue_position) == sorted(jobs, key=lambda job: queue_positions(jobs)[job.pk]) == expected
    assert [claim() for _ in range(4)] == expected


def test_behind_a_job_alone_a_worker_only_asks_whether_the_queue_is_empty(submit, loop, django_assert_num_queries):
    """Its client hears of the end behind that, so it is one statement and no claim that finds nothing."""
    submit()
    assert loop.run_once()
    with django_assert_num_queries(1):
        assert not loop.run_once()


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's sockets need no statement")
@pytest.mark.django_db(transaction=True)
def test_the_look_behind_a_job_alone_tells_the_web_of_its_end(submit, loop, django_assert_num_queries):
    submit()
    assert loop.run_once()
    subscription = subscribe("web")
    with django_assert_num_queries(1):
        assert not loop.run_once()
    assert subscription.wait(5)
    subscription.close()


def test_in_a_busy_queue_a_worker_claims_without_asking(submit, loop, monkeypatch):
    asked = []
    monkeypatch.setattr(transitions, "is_queue_empty", lambda **_: asked.append(1))
    [submit() for _ in range(5)]
    assert [loop.run_once() for _ in range(5)] == [True] * 5
    assert len(asked) == 2


def test_a_worker_begins_with_the_oldest_where_none_was_tried_before(submit, worker):
    jobs = [submit() for _ in range(2)]
    assert lifecycle.claim_jobs(worker=worker, is_first=True) == jobs[:1]


def test_only_the_first_claim_of_a_worker_is_its_first(loop, monkeypatch):
    said = []
    monkeypatch.setattr(lifecycle, "claim_jobs", lambda *, is_first, **rest: said.append(is_first) or [])
    loop.run_once(), loop.run_once()
    assert said == [True, False]


def test_the_place_in_the_queue_says_who_goes_first(submit):
    tried, fresh = submit(), submit()
    Job.objects.filter(pk=tried.pk).update(attempt=1)
    jobs = [now_as(tried), now_as(fresh)]
    assert queue_positions(jobs) == {tried.pk: 1, fresh.pk: 0}
    assert [queue_position(job) for job in jobs] == [1, 0]


# ---------------------------------------------------------------- what this worker can do


@pytest.fixture
def modelless(settings):
    settings.LOAD_MODELS = False
    settings.USE_LOCAL_MODELS = True
    get_kind("layout_score").next_look = 0.0
    for name, encoder in (("plain", ""), ("seeing", "starter-clip")):
        row = {
            "on": "layouts",
            "encoder": encoder,
            "ratings": 0,
            "comparisons": 20,
            "learned": True,
            "taste": {},
            "figures": {},
        }
        CustomScorer.objects.create(name=name, version=1, owner_key="alice", **row)


NEED_MODELS = [
    ("txt2img", {}),
    ("img2img", {}),
    ("clip_score", {}),
    ("embedding", {}),
    ("layout_score", {"backend": "nima", "model_id": "starter-nima"}),
    ("layout_score", {"backend": "custom:seeing@1", "model_id": None}),
    ("train_scorer", {"name": "mine", "on": "images", "encoder": "starter-clip"}),
    ("chat", {"backend": "pytorch", "model": "starter-vlm"}),
    ("chat", {"backend": "onnx", "model": "starter-vlm"}),
    ("completion", {"backend": "pytorch"}),
    ("load_model", {"model_id": "starter"}),
    ("unload_model", {"model_id": "starter"}),
]
NEED_NONE = [
    ("noop", {}),
    ("layout_score", {"backend": "heuristic", "model_id": None}),
    ("layout_score", {"backend": "custom:plain@1", "model_id": None}),
    ("train_scorer", {"name": "mine", "on": "images", "encoder": ""}),
    ("chat", {"backend": "remote", "model": "starter-vlm"}),
    ("completion", {"backend": "remote"}),
]


@pytest.mark.parametrize(("kind", "params"), NEED_MODELS)
def test_a_worker_without_models_leaves_what_needs_some_to_others(modelless, submit, worker, settings, kind, params):
    needs, needs_none = submit(kind, {**ANY_PARAMS, **params}), submit("noop")
    assert [lifecycle.claim_jobs(worker=worker) for _ in range(2)] == [[needs_none], []]
    settings.LOAD_MODELS = True
    assert lifecycle.claim_jobs(worker=worker) == [needs]


@pytest.mark.parametrize(("kind", "params"), NEED_NONE)
def test_a_worker_without_models_takes_what_needs_none(modelless, submit, worker, kind, params):
    job = submit(kind, {**ANY_PARAMS, **params})
    assert lifecycle.claim_jobs(worker=worker) == [job]


def test_a_worker_without_models_makes_pictures_where_another_server_has_the_models(modelless, submit, worker, settings):
    settings.USE_LOCAL_MODELS = False
    job = submit("txt2img", ANY_PARAMS)
    assert lifecycle.claim_jobs(worker=worker) == [job]


def test_every_kind_of_the_server_says_which_of_its_jobs_need_models():
    ours = [get_kind(name) for name in kind_names() if type(get_kind(name)).__module__.startswith("api.")]
    assert len(ours) == 17
    assert [kind.name for kind in ours if type(kind).without_models is JobKind.without_models] == []


# ---------------------------------------------------------------- the clock is set back


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_job_whose_time_lies_further_ahead_than_any_back_off_is_claimed_now(submit, worker, attempt):
    job = submit()
    Job.objects.update(attempt=attempt, available_at=Now() + timedelta(hours=1))
    assert transitions.find_waiting() == job.pk
    assert lifecycle.claim_jobs(worker=worker) == [job]


# ---------------------------------------------------------------- indexes


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite tells its plan in these words")
@pytest.mark.parametrize("is_first", [False, True])
def test_no_claim_reads_the_whole_table(submit, worker, is_first):
    """Every statement that looks for queued rows uses an index of those alone."""
    tried, *_ = submit(), submit("batched"), submit("batched")
    Job.objects.filter(pk=tried.pk).update(attempt=1)
    with CaptureQueriesContext(connection) as seen:
        lifecycle.claim_jobs(worker=worker, is_first=is_first)
        lifecycle.claim_jobs(worker=worker)
    statements = [query["sql"] for query in seen if "'queued'" in query["sql"] and "SELECT" in query["sql"]]
    assert len(statements) >= 2
    for statement in statements:
        plan = [row[3] for row in explain(statement)]
        assert all(
            "USING INDEX job_" in step or "COVERING INDEX job_" in step for step in plan if step.startswith("SCAN jobs_job")
        )


def explain(statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement.replace('%', '%%')}")
        return cursor.fetchall()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL plans a statement for all parameters")
def test_no_claim_reads_the_whole_queue_on_postgresql(submit, worker, settings):
    """Nor sorts it: with one kind, model and batch key in the table, a plan could take rows that have another for rare."""
    settings.LOAD_MODELS = False
    fill_queue(submit, 300)
    elsewhere = lifecycle.leaving(worker, ["model-a", "model-b"], but=[])
    assert lifecycle.claim_jobs(worker=worker, besides=["key-a", "key-b"], placement=elsewhere)
    plan = plan_for_all_parameters("%best AS MATERIALIZED%")
    assert "Index Scan using job_queue" in plan
    assert "Index Scan using job_owner_queue" in plan
    assert "Seq Scan on jobs_job" not in plan
    assert "Sort" not in plan
    assert re.search(r"jobs_job_pkey .*\n +Index Cond: \(id = ", plan)  # a bitmap scan where many rows were rolled back


def fill_queue(submit, count):
    row = Job.objects.values("kind", "params", "owner_key", "batch_key", "model_id").get(pk=submit().pk)
    Job.objects.bulk_create(Job(**row, virtual_start=number + 1, owner_order=number + 1) for number in range(count))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")


def plan_for_all_parameters(pattern):
    """Of the prepared statement that is like this, and has never been planned for the parameters of one execution."""
    with connection.cursor() as cursor:
        found = "SELECT name, CARDINALITY(parameter_types), custom_plans FROM pg_prepared_statements WHERE statement LIKE %s"
        cursor.execute(f"{found} ORDER BY prepare_time DESC LIMIT 1", [pattern])
        name, count, planned_for_one = cursor.fetchone()
        assert planned_for_one == 0
        cursor.execute(f'EXPLAIN EXECUTE "{name}"({", ".join(["NULL"] * count)})')
        return "\n".join(row[0] for row in cursor.fetchall())


def test_a_job_that_was_tried_before_joins_no_batch(submit, worker):
    jobs = [submit(kind="batched") for _ in range(3)]
    Job.objects.filter(pk=jobs[1].pk).update(attempt=1)
    assert lifecycle.claim_jobs(worker=worker) == [jobs[0], jobs[2]]


def test_a_job_of_a_kind_that_is_gone_fails_instead_of_blocking_the_queue(submit, loop):
    lost, next_one = submit(), submit()
    Job.objects.filter(pk=lost.pk).update(kind="gone")
    loop.run_once(), loop.run_once()
    assert now_as(lost).error["code"] == "unknown_kind"
    assert now_as(next_one).status == Status.SUCCEEDED


@pytest.mark.django_db(transaction=True)
def test_many_workers_never_claim_the_same_job(submit):
    jobs = {submit().pk for _ in range(60)}
    workers = [Worker.objects.create(hostname="here", pid=number) for number in range(8)]
    claims = at_once([lambda worker=workers[number % 8]: lifecycle.claim_jobs(worker=worker) for number in range(80)], 8)
    claimed = [job.pk for batch in claims for job in batch]
    assert sorted(claimed) == sorted(jobs)
    assert set(Job.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_a_job_is_either_claimed_or_cancelled_never_both(submit, worker):
    jobs = [submit() for _ in range(50)]
    cancels = [lambda job=job: lifecycle.cancel_job(job=job).status for job in jobs]
    claims = [lambda: [job.pk for job in lifecycle.claim_jobs(worker=worker)]] * 50
    answers = at_once([call for pair in zip(cancels, claims, strict=True) for call in pair])
    claimed = [pk for answer in answers if isinstance(answer, list) for pk in answer]
    cancelled = Job.objects.filter(status=Status.CANCELLED).count()
    assert len(claimed) == len(set(claimed)) == Job.objects.filter(status=Status.RUNNING).count()
    assert len(claimed) + cancelled == 50
    assert Job.objects.filter(status=Status.RUNNING, cancel_requested_at=None).filter(pk__in=[j.pk for j in jobs]).count() <= 50


def test_a_claim_takes_few_queries(submit, worker, django_assert_max_num_queries):
    submit()
    with django_assert_max_num_queries(8):
        lifecycle.claim_jobs(worker=worker)


def test_claims_stay_quick_beside_a_long_history(submit, worker):
    Job.objects.bulk_create(Job(kind="noop", owner_key="bob", status=Status.SUCCEEDED) for _ in range(5000))

    def claim_one() -> float:
        submit()
        started = time.monotonic()
        assert len(lifecycle.claim_jobs(worker=worker)) == 1
        return time.monotonic() - started

    assert any(claim_one() < 0.5 for _ in range(4))  # as others leave it the processor


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own way")
def test_prepared_statements_run_the_same_with_and_without_djangos_cursors(submit):
    job = submit()
    statement, params = "SELECT id, status, '100 %%', priority FROM jobs_job WHERE id = %s", [job.pk]
    fast, seen = run(statement, params), []
    with connection.execute_wrapper(lambda execute, *arguments: seen.append(arguments[0]) or execute(*arguments)):
        assert run(statement, params) == fast == [(job.pk, "queued", "100 %", 0)]
    assert seen == [statement]
    with pytest.raises(DataError), transaction.atomic():
        run("SELECT CAST(%s AS INTEGER)", ["none"])
    with transaction.atomic():
        connection.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            run(statement, params)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own way")
def test_statements_run_the_same_with_and_without_djangos_cursors(submit):
    job = submit()
    statement, params = (
        "SELECT id, status, '100 %%', priority FROM jobs_job WHERE status = %s AND id = %s",
        ["queued", job.pk.hex],
    )
    fast = run(statement, params)
    with connection.execute_wrapper(lambda execute, *arguments: execute(*arguments)):
        assert run(statement, params) == fast == [(job.pk.hex, "queued", "100 %", 0)]
    with transaction.atomic():
        connection.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            run(statement, params)
    with pytest.raises(OperationalError), transaction.atomic():
        run("SELECT nothing FROM nowhere")
