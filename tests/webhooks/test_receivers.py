"""What becomes of a delivery by what its receiver answers, and where that is."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.webhooks import Webhook
from api.webhooks import deliveries, sending
from api.webhooks.models import Delivery
from api.webhooks.reader import WebhookReader
from tests.webhooks.conftest import ended, secret_of, turn_until
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
Finish = Callable[..., Job]


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
