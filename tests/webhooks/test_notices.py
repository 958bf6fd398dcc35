"""What a receiver hears of a job before its end: that it has begun, and how far it is."""

import time
from typing import Any

import pytest

from api.jobs.lifecycle import claim_jobs, finish_job, record_progress
from api.jobs.models import Job, Worker
from api.jobs.webhooks import Webhook
from api.webhooks import notices
from api.webhooks.models import Delivery
from api.webhooks.reader import WebhookReader
from tests.jobs.conftest import claim, worker
from tests.webhooks.conftest import ended, secret_of, turn_until
from tests.webhooks.receiver import Receiver

__all__ = ["claim", "worker"]
pytestmark = pytest.mark.django_db(transaction=True)
ALL = ("started", "progress", "completed")


def progress(job: Job, step: int) -> None:
    how_far = {"fraction": step / 10, "step": step, "steps": 10}
    record_progress([(job, how_far, ("progress", how_far))])


def events(receiver: Receiver) -> list[str]:
    with receiver.lock:
        return [headers["webhook-event"] for _, headers, _ in receiver.heard]


def test_started_progress_and_completed_come_in_this_order(
    submit: Any, claim: Any, reader: WebhookReader, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "INTERVAL_SECONDS", 0.0)
    secret = secret_of("alice")
    submit(webhook=Webhook(receiver.url("ok"), ALL))
    reader.turn()
    assert events(receiver) == []  # it waits
    job = claim()
    turn_until(reader, lambda: len(events(receiver)) == 1)
    progress(job, 3)
    turn_until(reader, lambda: len(events(receiver)) == 2)
    finish_job(job=job, result={})
    turn_until(reader, ended())
    assert events(receiver) == ["started", "progress", "completed"]
    bodies = receiver.verified(secret)
    assert [body["status"] for body in bodies] == ["running", "running", "succeeded"]
    assert bodies[1]["progress"]["step"] == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.heard}) == 3


def test_progress_is_sent_at_most_twice_a_second_and_only_where_there_is_some(
    submit: Any, claim: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    submit(webhook=Webhook(receiver.url("ok"), ("progress",)))
    job, started = claim(), time.monotonic()
    for step in range(1, 11):
        progress(job, step)
        reader.turn()
        time.sleep(0.13)
    turn_until(reader, lambda: receiver.bodies() and receiver.bodies()[-1]["progress"]["step"] == 10)
    assert 2 <= len(receiver.heard) <= (time.monotonic() - started) / 0.5 + 1
    sent = len(receiver.heard)
    time.sleep(0.6)
    reader.turn()
    assert len(receiver.heard) == sent


@pytest.mark.parametrize("path", ["hangs", "fails", "gone"])
def test_a_receiver_that_does_not_take_them_hears_the_end_all_the_same(
    submit: Any, claim: Any, reader: WebhookReader, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(notices, "INTERVAL_SECONDS", 0.0)
    submit(webhook=Webhook(receiver.url(path), ALL))
    job = claim()
    turn_until(reader, lambda: receiver.counts[f"/{path}"])
    for step in (1, 2):
        progress(job, step)
        reader.turn()
        time.sleep(0.1)
    if path == "gone":
        assert receiver.counts["/gone"] == 1
    finish_job(job=job, result={})
    turn_until(reader, lambda: "completed" in events(receiver))
    assert Delivery.objects.count() == 1


def test_nothing_is_sent_of_a_job_that_only_its_end_is_asked_of(
    submit: Any, claim: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    submit(webhook=Webhook(receiver.url("ok")))
    progress(claim(), 3)
    reader.turn()
    assert (receiver.heard, reader.notices.sender.room) == ([], notices.PLACES)


def test_what_is_sent_while_a_job_runs_is_no_row(
    submit: Any, worker: Worker, reader: WebhookReader, receiver: Receiver
) -> None:
    submit(webhook=Webhook(receiver.url("ok"), ALL))
    claim_jobs(worker=worker)
    turn_until(reader, lambda: receiver.counts["/ok"])
    assert not Delivery.objects.exists()
