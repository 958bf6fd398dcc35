"""A PostgreSQL that was restarted costs no job: every connection is cut, here by the server itself."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from asgiref.sync import SyncToAsync
from django.db import connection, connections

from api.jobs.models import Job
from api.jobs.states import Status
from tests.jobs.conftest import database_url, ends, now_as, until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="on PostgreSQL only"),
]


@pytest.fixture(autouse=True)
def full_pool(transactional_db: None) -> Iterator[None]:
    """As in a busy web process: all of them are cut at once."""

    def hold(everybody: threading.Barrier) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        everybody.wait(10)
        connection.close()

    everybody = threading.Barrier(12)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(hold, [everybody] * 12))
    yield
    # Its connection was cut as well; a server closes such ones between requests, and nobody does it between tests.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
    connections.close_all()  # where a test failed, too: the next ones need one that works


def cut_all_connections() -> None:
    """What a restart does to clients. Not from the pool: these connections are what is cut."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(database_url(), autocommit=True) as server:
        server.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")  # waits until they have ended
    time.sleep(0.1)  # for what they said at last to arrive


def test_the_next_request_after_a_restart_is_answered(submit):
    submit()
    connection.close()  # back into the pool, as at a request's end
    cut_all_connections()
    assert Job.objects.count() == 1


def test_an_idle_worker_hears_of_jobs_again_after_a_restart(workers, submit):
    workers.start()
    connection.close()
    cut_all_connections()
    assert ends(submit()).status == Status.SUCCEEDED


def test_a_job_that_runs_while_the_database_restarts_is_done_once(workers, submit):
    workers.start()
    job = submit("sleep", {"steps": 20, "seconds": 0.1})
    until(lambda: now_as(job).progress.get("step"))
    connection.close()
    cut_all_connections()
    job = ends(job)
    assert (job.status, job.attempt, job.events.filter(type="result").count()) == (Status.SUCCEEDED, 1, 1)
