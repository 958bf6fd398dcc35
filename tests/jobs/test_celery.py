"""Celery wakes workers, and decides nothing."""

import time
from collections.abc import Iterator

import pytest
from celery.contrib.testing.worker import start_worker

from api.jobs.states import Status
from api.jobs.worker import tasks
from api.jobs.worker.sweep import sweep
from config.celery import app
from tests.jobs.conftest import ends, now_as

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker(settings, monkeypatch) -> None:
    settings.JOB_RUNNER = "celery"
    monkeypatch.setenv("DARKROOM_WORKER", "celery")


@pytest.fixture
def celery_worker(broker, settings) -> Iterator[None]:
    settings.LOAD_MODELS = False
    with start_worker(app, pool="threads", perform_ping_check=False, shutdown_timeout=20):
        yield
    tasks.stop_hosting()
    tasks._loop = None


def test_a_published_wake_up_runs_what_waits(celery_worker, submit):
    jobs = [submit() for _ in range(5)]
    assert [ends(job).status for job in jobs] == [Status.SUCCEEDED] * 5
    assert {now_as(job).attempt for job in jobs} == {1}


def test_the_sweep_publishes_again_what_was_queued_while_no_message_got_through(celery_worker, submit, settings):
    settings.JOB_RUNNER = "external"
    job = submit()
    settings.JOB_RUNNER = "celery"
    sweep()
    assert ends(job).status == Status.SUCCEEDED


def test_a_message_that_comes_twice_or_for_a_finished_job_changes_nothing(submit, loop):
    job = submit()
    tasks._loop = loop
    tasks.wake(str(job.pk))
    before = now_as(job)
    tasks.wake(str(job.pk))
    tasks._loop = None
    assert (now_as(job).status, now_as(job).event_sequence) == (Status.SUCCEEDED, before.event_sequence)


def test_a_broker_that_is_down_costs_no_job_and_little_time(broker, submit, monkeypatch):
    class Down:
        def send_task(self, *args: object, **options: object) -> None:
            from config.celery import Celery

            Celery("down", broker="amqp://127.0.0.1:9//", broker_connection_timeout=1).send_task("darkroom.wake", retry=False)

    monkeypatch.setattr("config.celery.app", Down())
    started = time.monotonic()
    assert submit().status == Status.QUEUED
    assert time.monotonic() - started < 10
