"""What a receiver hears of a job's end."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Job, JobEnding
from api.jobs.webhooks import Webhook
from api.jobs.worker.loop import WorkerLoop
from api.webhooks import deliveries
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.reader import WebhookReader
from api.webhooks.settings_of_keys import settings_of
from tests.webhooks.conftest import ended, make_due, secret_of, turn_until
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
Finish = Callable[..., Job]


def test_a_finished_job_is_sent_signed_as_the_api_shows_it(
    finish: Finish, reader: WebhookReader, receiver: Receiver, client: Any
) -> None:
    secret = secret_of("alice")
    job = finish(origin="http://pictures.example")
    turn_until(reader, ended())
    [body] = receiver.verified(secret)
    shown = client.get(f"/api/jobs/{job.pk}/", headers={"Host": "localhost"}).json()
    assert {**body, "links": 0} == {**shown, "links": 0}
    assert body["status"] == "succeeded"
    assert body["links"]["self"] == f"http://pictures.example/api/jobs/{job.pk}/"
    [(_, headers, _)] = receiver.heard
    [delivery] = Delivery.objects.all()
    assert headers["webhook-id"] == str(delivery.pk)
    assert headers["content-type"] == "application/json"
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("delivered", 1, None)
    assert (delivery.answers[0]["status"], delivery.answers[0]["text"]) == (200, "thanks")


def test_links_begin_with_the_address_that_receivers_reach(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://pictures.example"
    jobs = [finish(origin=origin) for origin in ("http://127.0.0.1:8000", "")]
    turn_until(reader, ended(2))
    links = {json.loads(body)["links"]["self"] for _, _, body in receiver.heard}
    assert links == {f"https://pictures.example/api/jobs/{job.pk}/" for job in jobs}


def test_another_secret_does_not_verify_it(finish: Finish, reader: WebhookReader, receiver: Receiver) -> None:
    secret_of("alice")
    finish()
    turn_until(reader, ended())
    with pytest.raises(WebhookVerificationError):
        receiver.verified(secret_of("bob"))


def test_each_key_has_its_secret_and_what_comes_without_a_key_shares_one(submit: Any, reader: WebhookReader) -> None:
    owners = ("alice", "bob", "local", "user:1")
    assert len({settings_of(owner).pk for owner in owners}) == 3
    assert settings_of("local").pk == settings_of("user:1").pk


def test_what_is_sent_after_a_new_secret_was_made_fits_both(finish: Finish, reader: WebhookReader, receiver: Receiver) -> None:
    secrets = [secret_of("alice"), secret_of("alice")]
    finish()
    turn_until(reader, ended())
    assert [len(receiver.verified(secret)) for secret in secrets] == [1, 1]
    KeyWebhook.objects.update(previous_until=Now() - timedelta(seconds=1))
    finish()
    turn_until(reader, ended(2))
    _, headers, body = receiver.heard[-1]
    with pytest.raises(WebhookVerificationError):
        Verifier(secrets[0]).verify(body, headers)
    assert Verifier(secrets[1]).verify(body, headers)


def test_a_failed_job_is_sent_with_its_error(finish: Finish, reader: WebhookReader, receiver: Receiver) -> None:
    finish(kind="refuse")
    turn_until(reader, ended())
    [body] = receiver.bodies()
    assert (body["status"], body["error"]) == ("failed", Job.objects.get().error)


def test_a_cancelled_job_is_sent_also_when_it_is_deleted_at_once(
    submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    job = submit(webhook=Webhook(receiver.url("ok")))
    cancel_job(job=job)
    Job.objects.get().delete()
    turn_until(reader, ended())
    [body] = receiver.bodies()
    assert (body["id"], body["status"], body["kind"]) == (str(job.pk), "cancelled", "noop")


def test_a_job_without_a_webhook_leaves_nothing_to_do(submit: Any, reader: WebhookReader) -> None:
    cancel_job(job=submit())
    assert JobEnding.objects.get().dispatched is True
    reader.turn()
    assert not Delivery.objects.exists()


def test_who_asks_only_for_other_events_hears_of_no_end(submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    cancel_job(job=submit(webhook=Webhook(receiver.url("ok"), ("progress",))))
    reader.turn()
    assert JobEnding.objects.get().dispatched is True
    assert not Delivery.objects.exists()


def test_a_retry_has_the_webhook_too(submit: Any, receiver: Receiver) -> None:
    job = submit(webhook=Webhook(receiver.url("ok"), ("started", "completed")), origin="http://a")
    assert retry_job(job=job).webhook == job.webhook == {
        "url": receiver.url("ok"), "events": ["started", "completed"], "origin": "http://a",
    }  # fmt: skip


def test_the_body_is_json_as_it_was_at_the_end(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = [0]
    finish("flaky")
    turn_until(reader, ended())
    assert len({body for _, _, body in receiver.heard}) == 1
    assert json.loads(receiver.heard[0][2])["webhook"] == {"url": receiver.url("flaky"), "events": ["completed"]}


def test_jobs_of_a_worker_are_told_too(submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    submit(webhook=Webhook(receiver.url("ok")))
    WorkerLoop().run_once()
    turn_until(reader, ended())
    assert receiver.bodies()[0]["result"] == {"attempt": 1}


# ---------------------------------------------------------------- other processes


def test_two_readers_send_each_message_once(finish: Finish, receiver: Receiver) -> None:
    for _ in range(20):
        finish()
    readers = [WebhookReader(), WebhookReader()]
    turn_until(readers[0], lambda: (readers[1].turn(), ended(20)())[1])
    assert len(receiver.heard) == 20
    assert len({body["id"] for body in receiver.bodies()}) == 20


def test_what_a_dead_process_had_taken_is_sent_by_another(finish: Finish, reader: WebhookReader, receiver: Receiver) -> None:
    finish()
    deliveries.create_deliveries()
    assert len(deliveries.take(list(Delivery.objects.values_list("pk", flat=True)))) == 1
    reader.turn()
    time.sleep(0.1)
    assert receiver.heard == []  # it may be on its way
    make_due()  # as after LEASE_SECONDS
    turn_until(reader, ended())
    assert len(receiver.heard) == 1


def test_a_receiver_that_dies_as_it_answers_hears_it_again_by_the_same_id(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = [0]
    finish("dies_once")
    turn_until(reader, ended())
    assert len({headers["webhook-id"] for _, headers, _ in receiver.heard}) == 1
    assert len(receiver.heard) == 2


def test_an_outbox_row_whose_job_can_not_be_shown_holds_up_no_other(
    finish: Finish, reader: WebhookReader, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish()
    Job.objects.update(kind="nobody-knows-it")
    finish()
    turn_until(reader, ended(2))
    assert len(receiver.heard) == 2


def test_old_deliveries_go_and_those_that_wait_stay(settings: Any) -> None:
    settings.WEBHOOK_RETENTION_DAYS = 2
    for status, days in [("pending", 3), ("delivered", 3), ("failed", 1)]:
        made = Delivery.objects.create(job_id=uuid.uuid4(), owner_key="alice", url="http://a", event="completed", status=status)
        Delivery.objects.filter(pk=made.pk).update(created_at=Now() - timedelta(days=days))
    assert deliveries.delete_old() == 1
    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["failed", "pending"]
