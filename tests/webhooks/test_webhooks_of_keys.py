"""The webhook and the secret that a key has of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from api.access.services import create_key
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.webhooks import Webhook
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.reader import WebhookReader
from api.webhooks.settings_of_keys import defaults, replace_secret, settings_of
from tests.webhooks.conftest import ended, make_due, secret_of, turn_until
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
Finish = Callable[..., Job]


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
