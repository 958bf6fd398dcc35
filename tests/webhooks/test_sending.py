"""What a receiver hears of a job's end, and what becomes of a delivery by what it answers."""

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

from api.access.services import create_key
from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Job, JobEnding
from api.jobs.webhooks import Webhook
from api.jobs.worker.loop import WorkerLoop
from api.webhooks import deliveries, sending
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.reader import WebhookReader
from api.webhooks.settings_of_keys import defaults, replace_secret, settings_of
from tests.webhooks.conftest import ended, secret_of, turn_until
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
Finish = Callable[..., Job]


def make_due() -> None:
    Delivery.objects.filter(status="pending").update(next_attempt_at=Now() - timedelta(seconds=1))


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


# ---------------------------------------------------------------- what receivers answer


@pytest.mark.parametrize("path", ["ok", "none", "endless"])
def test_any_2xx_is_enough(finish: Finish, reader: WebhookReader, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_SECONDS", 2.0)
    finish(path)
    turn_until(reader, ended())
    assert Delivery.objects.get().status == "delivered"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("fails", 500, "broken \N{REPLACEMENT CHARACTER} here"),
        ("moved", 307, "Redirects are not followed. "),
        ("dies", None, "This URL could not be fetched: nothing answers there, or not as HTTP says."),
        ("hangs", None, "This URL took too long to answer."),
    ],
)
def test_what_goes_wrong_is_noted_and_tried_again(
    finish: Finish,
    reader: WebhookReader,
    monkeypatch: pytest.MonkeyPatch,
    receiver: Receiver,
    path: str,
    status: int,
    text: str,
) -> None:
    monkeypatch.setattr(sending, "MAX_SECONDS", 0.5)
    finish(path)
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answers[0]["status"], delivery.answers[0]["text"]) == ("pending", status, text)
    waits = Delivery.objects.annotate(now=Now()).get()
    assert 3 < (waits.next_attempt_at - waits.now).total_seconds() <= 5
    assert receiver.counts == {f"/{path}": 1}


def test_it_is_tried_as_often_as_is_said_with_the_same_id(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = [0, 0.1, 0]
    job = finish("fails")
    turn_until(reader, ended())
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, len(delivery.answers)) == ("failed", 4, 4)
    assert [headers["webhook-id"] for _, headers, _ in receiver.heard] == [str(delivery.pk)] * 4
    assert Job.objects.get(pk=job.pk).status == "succeeded"


def test_each_try_is_signed_with_the_time_it_is_sent(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = [1.2]
    secret = secret_of("alice")
    finish("flaky")
    turn_until(reader, ended())
    times = [int(headers["webhook-timestamp"]) for _, headers, _ in receiver.heard]
    assert times[1] > times[0]
    assert len(receiver.verified(secret)) == 2
    assert Delivery.objects.get().status == "delivered"


def test_the_usual_waits_are_those_of_the_specification(settings: Any) -> None:
    waits = [deliveries.next_state(tries, deliveries.Outcome(500, "", 0))[1] for tries in range(1, 8)]
    assert waits == [5, 300, 1800, 7200, 18000, 36000, None]


def test_410_ends_it_for_this_url_and_no_other(finish: Finish, submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    finish("fails")
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    finish("gone")
    finish("gone")
    turn_until(reader, lambda: Delivery.objects.filter(url=receiver.url("gone")).exclude(status="pending").count() == 2)
    assert receiver.counts["/gone"] == 1  # the second was not sent any more
    assert list(Delivery.objects.order_by("created_at").values_list("status", flat=True)) == ["pending", "stopped", "stopped"]


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_network_is_not_entered_unless_that_is_allowed(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any, host: str
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    finish("ok")
    Job.objects.update(webhook={"url": f"http://{host}:{receiver.server_port}/ok", "events": ["completed"], "origin": ""})
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    assert Delivery.objects.get().answers[0]["text"] == "This URL leads to an address that is not allowed."
    assert receiver.heard == []


def test_a_name_with_two_addresses_is_reached_at_the_one_that_answers(
    submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    cancel_job(job=submit(webhook=Webhook(f"http://localhost:{receiver.server_port}/ok")))
    turn_until(reader, ended())
    assert Delivery.objects.get().status == "delivered"


# ---------------------------------------------------------------- the key's own


def set_default(owner_key: str, url: str, **fields: Any) -> KeyWebhook:
    row = settings_of(owner_key)
    for name, value in {"url": url, **fields}.items():
        setattr(row, name, value)
    row.save()
    defaults.forget()
    return row


def test_a_key_may_have_a_webhook_for_all_of_its_jobs(submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    key, _ = create_key(name="an application")
    set_default(key.prefix, receiver.url("ok"))
    for owner in (key.prefix, "local", "alice"):
        cancel_job(job=submit(owner_key=owner))
    turn_until(reader, ended())
    assert Delivery.objects.get().owner_key == key.prefix


def test_a_requests_own_webhook_takes_its_place(submit: Any, receiver: Receiver) -> None:
    set_default("alice", receiver.url("ok"))
    job = submit(webhook=Webhook(receiver.url("none")))
    assert job.webhook["url"] == receiver.url("none")


def test_what_was_set_for_jobs_without_a_key_is_for_those_alone(submit: Any, receiver: Receiver) -> None:
    set_default("local", receiver.url("ok"))
    assert [bool(submit(owner_key=owner).webhook) for owner in ("local", "user:7", "alice")] == [True, True, False]


def test_a_default_whose_receiver_is_gone_is_used_no_more(submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    set_default("alice", receiver.url("gone"))
    cancel_job(job=submit())
    turn_until(reader, ended())
    assert KeyWebhook.objects.get().gone_at is not None
    assert submit().webhook is None


def test_nothing_is_sent_for_a_key_that_was_switched_off(finish: Finish, reader: WebhookReader, receiver: Receiver) -> None:
    set_default("alice", "", enabled=False)
    finish()
    reader.turn()
    assert ended()()
    assert (Delivery.objects.get().status, receiver.heard) == ("stopped", [])


# ---------------------------------------------------------------- secrets


def test_secrets_are_encrypted_in_the_database_with_the_servers_key(
    finish: Finish, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    secret = secret_of("alice")
    row = KeyWebhook.objects.get()
    assert secret not in row.secret
    assert row.read_secret() == secret
    settings.SECRET_KEY = "another one"
    finish()
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    assert "SECRET_KEY" in Delivery.objects.get().answers[0]["text"]
    assert receiver.heard == []
    fresh = replace_secret(row)
    make_due()
    turn_until(reader, ended())
    assert len(receiver.verified(fresh)) == 1


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


# ---------------------------------------------------------------- receivers that hang


def test_receivers_that_hang_delay_no_other(submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    for number in range(100):
        cancel_job(job=submit(webhook=Webhook(receiver.url(f"hangs/{number}"))))
    cancel_job(job=submit(webhook=Webhook(receiver.url("ok"))))
    started = time.monotonic()
    turn_until(reader, lambda: receiver.counts["/ok"])
    assert time.monotonic() - started < 10
    turn_until(reader, lambda: len(receiver.counts) == 101)


def test_a_receiver_that_hangs_and_has_much_to_hear_holds_one_place(
    submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    for _ in range(30):
        cancel_job(job=submit(webhook=Webhook(receiver.url("hangs"))))
    cancel_job(job=submit(webhook=Webhook(receiver.url("ok"))))
    turn_until(reader, lambda: receiver.counts["/ok"] and receiver.counts["/hangs"])
    for _ in range(5):
        reader.turn()
        time.sleep(0.05)
    assert receiver.counts["/hangs"] == 1


def test_another_owner_has_places_left_where_one_fills_its_own(
    submit: Any, reader: WebhookReader, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.first = sending.Sender(6, 4, reader.wake)
    for number in range(8):
        cancel_job(job=submit(webhook=Webhook(receiver.url(f"hangs/{number}")), owner_key="mallory"))
    cancel_job(job=submit(webhook=Webhook(receiver.url("ok"))))
    turn_until(reader, lambda: receiver.counts["/ok"] and len(receiver.counts) >= 5)
    for _ in range(5):
        reader.turn()
        time.sleep(0.05)
    assert len(receiver.counts) == 5


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
