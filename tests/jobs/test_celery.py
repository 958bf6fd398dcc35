"""Celery wakes workers, and decides nothing."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from celery.signals import worker_init
from django.core.exceptions import ImproperlyConfigured

from api.jobs.draining import drain
from api.jobs.models import Job, Worker
from api.jobs.notify import broker as module
from api.jobs.states import Status
from api.jobs.worker import tasks
from api.jobs.worker.sweep import sweep
from config.celery import app
from tests.jobs.conftest import ends, now_as, until

Submit = Callable[..., Job]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> module.Publisher:
    settings.JOB_RUNNER = "celery"
    monkeypatch.setenv("DARKROOM_WORKER", "celery")
    monkeypatch.setattr(module, "publisher", module.Publisher())
    return module.publisher


@pytest.fixture
def celery_worker(broker: module.Publisher, settings: Any) -> Iterator[None]:
    settings.LOAD_MODELS = False
    with start_worker(app, pool="threads", perform_ping_check=False, shutdown_timeout=20):
        yield
    tasks.stop_hosting()


def test_a_published_wake_up_runs_what_waits(celery_worker: None, submit: Submit) -> None:
    jobs = [submit() for _ in range(5)]
    assert [ends(job).status for job in jobs] == [Status.SUCCEEDED] * 5
    assert {now_as(job).attempt for job in jobs} == {1}


def test_jobs_go_on_without_a_message(celery_worker: None, submit: Submit, settings: Any) -> None:
    settings.JOB_RUNNER = "external"
    assert ends(submit()).status == Status.SUCCEEDED


def test_a_worker_that_is_told_to_end_claims_no_more_however_many_wait(
    celery_worker: None, submit: Submit, settings: Any
) -> None:
    jobs = [submit("sleep", {"seconds": 0.3}) for _ in range(20)]
    until(lambda: now_as(jobs[0]).status == Status.SUCCEEDED)
    started = time.monotonic()
    tasks.stop_claiming()
    tasks.stop_hosting()
    assert time.monotonic() - started < 10
    assert {now_as(job).status for job in jobs} == {Status.SUCCEEDED, Status.QUEUED}


def test_a_drained_worker_ends_where_that_was_asked_for(
    celery_worker: None, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(tasks, "end_process", asked.set)
    assert ends(submit()).status == Status.SUCCEEDED
    drain(worker_id=Worker.objects.get().pk, exits=True)
    assert asked.wait(20)
    assert now_as(submit()).status == Status.QUEUED


def test_a_sweep_leaves_no_message_while_all_workers_are_busy(broker: module.Publisher, submit: Submit) -> None:
    submit()
    until(lambda: not broker.waiting)
    sweep()
    assert not broker.waiting


def test_a_message_holds_its_worker_until_a_look_that_began_after_it_found_nothing() -> None:
    """And no longer than it may, for RabbitMQ closes the channel of one that takes half an hour."""
    subscription = tasks.BrokerSubscription()
    subscription.wake(timeout=0.01)  # came while the loop was at work
    assert subscription.wait(0.0)  # so it looks again
    message = threading.Thread(target=subscription.wake)
    message.start()
    until(lambda: subscription.asked == 2)
    assert subscription.wait(5.0)  # the look before this wait began before the second message
    assert message.is_alive()
    assert not subscription.wait(0.0)
    message.join(5)
    assert not message.is_alive()


def refuse_to_start() -> None:
    raise ImproperlyConfigured("The bucket is not there.")


def test_a_worker_that_cannot_work_ends_at_its_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WORKER", "celery")
    settings.WORKER_FACTORY = f"{__name__}.refuse_to_start"
    with pytest.raises(SystemExit, match="can't start: The bucket is not there"):
        worker_init.send(sender=None)


class Down:
    def __init__(self) -> None:
        self.askers: set[int] = set()

    def connection_for_write(self) -> Any:
        self.askers.add(threading.get_ident())
        return app.connection_for_write("amqp://127.0.0.1:9//")

    def send_task(self, *args: object, **options: Any) -> None:
        app.send_task("darkroom.wake", **options)


def test_a_broker_that_is_away_costs_a_request_nothing_and_is_told_once(
    broker: module.Publisher, submit: Submit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "REST_SECONDS", 0.05)
    with caplog.at_level(logging.INFO, "darkroom.jobs"):
        with monkeypatch.context() as away:
            down = Down()
            away.setattr("config.celery.app", down)
            assert submit().status == Status.QUEUED
            until(lambda: broker.is_away)
            assert down.askers
            assert threading.get_ident() not in down.askers
            submit()
            until(lambda: not broker.waiting)
        until(lambda: submit() and not broker.is_away)
    told = [record.getMessage() for record in caplog.records if "wake-ups" in record.getMessage()]
    assert ["Connection refused" in line for line in told] == [True, False], told
