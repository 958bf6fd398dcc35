"""Webhooks in the admin: secrets are shown once, deliveries are sent again or stopped, a key is switched off."""

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.access.services import create_key
from api.jobs.lifecycle import cancel_job
from api.jobs.webhooks import Webhook
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.reader import WebhookReader
from api.webhooks.settings_of_keys import defaults
from tests.webhooks.conftest import ended, turn_until
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
KEYS, DELIVERIES = "/admin/webhooks/keywebhook/", "/admin/webhooks/delivery/"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def act(client: Client, page: str, action: str, *rows: Any) -> str:
    reply = client.post(page, {"action": action, "_selected_action": [str(row.pk) for row in rows]}, follow=True)
    assert reply.status_code == 200
    return reply.content.decode()


def add(client: Client, **fields: Any) -> str:
    body = {"owner_key": "", "url": "", "events": ["completed"], "enabled": "on", **fields}
    reply = client.post(f"{KEYS}add/", body, follow=True)
    assert reply.status_code == 200
    return reply.content.decode()


def test_a_secret_is_shown_as_it_is_made_and_never_again(admin_client: Client) -> None:
    key, _ = create_key(name="an application")
    [secret] = SECRET.findall(add(admin_client, owner_key=key.prefix, url="https://example.com/hook"))
    [row] = KeyWebhook.objects.all()
    assert (row.owner_key, row.url, row.read_secret()) == (key.prefix, "https://example.com/hook", secret)
    for page in (KEYS, f"{KEYS}{row.pk}/change/"):
        assert secret not in admin_client.get(page).content.decode()
    again = act(admin_client, KEYS, "show", row)
    assert "was shown before" in again
    assert SECRET.findall(again) == []


def test_a_secret_that_was_made_by_itself_can_be_shown_once(
    admin_client: Client, submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    cancel_job(job=submit(webhook=Webhook(receiver.url("ok"))))
    turn_until(reader, ended())
    [row] = KeyWebhook.objects.all()
    shown = [SECRET.findall(act(admin_client, KEYS, "show", row)) for _ in range(2)]
    assert [len(each) for each in shown] == [1, 0]
    assert len(receiver.verified(shown[0][0])) == 1


def test_a_new_secret_is_shown(admin_client: Client) -> None:
    [first] = SECRET.findall(add(admin_client))
    [row] = KeyWebhook.objects.all()
    [second] = SECRET.findall(act(admin_client, KEYS, "renew", row))
    assert first != second == KeyWebhook.objects.get().read_secret()


@pytest.mark.parametrize("url", ["example.com", "ftp://example.com/", "http://169.254.169.254/"])
def test_a_url_that_is_none_is_refused(admin_client: Client, url: str) -> None:
    assert 'class="errorlist"' in add(admin_client, url=url)
    assert not KeyWebhook.objects.exists()


def test_the_form_lists_keys_that_have_none_yet(admin_client: Client) -> None:
    (one, _), (other, _) = (create_key(name=name) for name in ("one", "other"))
    add(admin_client, owner_key=one.prefix)
    page = admin_client.get(f"{KEYS}add/").content.decode()
    assert one.prefix not in page
    assert other.prefix in page
    assert 'class="errorlist' in add(admin_client, owner_key="nobodys")


def test_a_key_that_is_switched_off_is_sent_nothing_more(
    admin_client: Client, submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    add(admin_client, url=receiver.url("fails"))
    for owner in ("local", "alice"):
        cancel_job(job=submit(owner_key=owner, webhook=Webhook(receiver.url("fails"))))
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).count() == 2)
    row = KeyWebhook.objects.get(owner_key="")
    body = {"url": row.url, "events": ["completed"]}
    assert "1 waiting delivery was stopped" in admin_client.post(f"{KEYS}{row.pk}/change/", body, follow=True).content.decode()
    states = {each.owner_key: each.status for each in Delivery.objects.all()}
    assert states == {"local": "stopped", "alice": "pending"}
    defaults.forget()
    assert submit(owner_key="local").webhook is None


def test_saving_it_begins_again_after_a_410(admin_client: Client) -> None:
    add(admin_client, url="https://example.com/")
    KeyWebhook.objects.update(gone_at=timezone.now())
    row = KeyWebhook.objects.get()
    assert "answered 410" in admin_client.get(KEYS).content.decode()
    admin_client.post(f"{KEYS}{row.pk}/change/", {"url": row.url, "events": ["completed"], "enabled": "on"})
    assert KeyWebhook.objects.get().gone_at is None


def test_what_failed_is_sent_again_by_its_id(
    admin_client: Client, submit: Any, reader: WebhookReader, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = []
    cancel_job(job=submit(webhook=Webhook(receiver.url("flaky"))))
    turn_until(reader, ended())
    delivery = Delivery.objects.get()
    assert delivery.status == "failed"
    assert "1 will be sent now" in act(admin_client, DELIVERIES, "send_again", delivery)
    turn_until(reader, ended())
    again = Delivery.objects.get()
    assert (again.status, [answer["status"] for answer in again.answers]) == ("delivered", [503, 200])
    assert len({headers["webhook-id"] for _, headers, _ in receiver.heard}) == 1


def test_what_waits_can_be_stopped(admin_client: Client, submit: Any, reader: WebhookReader, receiver: Receiver) -> None:
    cancel_job(job=submit(webhook=Webhook(receiver.url("fails"))))
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    assert "1 stopped" in act(admin_client, DELIVERIES, "stop", Delivery.objects.get())
    assert (Delivery.objects.get().status, Delivery.objects.get().next_attempt_at) == ("stopped", None)


def test_one_who_may_look_may_not_act(client: Client, django_user_model: Any) -> None:
    person = django_user_model.objects.create_user("onlooker", password="a password", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client.force_login(person)
    row = Delivery.objects.create(
        job_id=uuid.uuid4(), owner_key="a", url="http://a", event="completed", body="{}", status="failed"
    )
    assert client.get(DELIVERIES).status_code == 200
    client.post(DELIVERIES, {"action": "send_again", "_selected_action": [str(row.pk)]})
    assert Delivery.objects.get().status == "failed"
    assert client.get(KEYS).status_code == 403


def test_a_list_of_deliveries_asks_no_query_for_each_of_them(admin_client: Client, submit: Any) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert admin_client.get(DELIVERIES).status_code == 200
        return len(asked)

    def deliver(count: int) -> None:
        jobs = [submit() for _ in range(count)]
        Delivery.objects.bulk_create([Delivery(job_id=job.pk, owner_key="alice", url="https://example.com/") for job in jobs])

    deliver(2)
    queries()
    few = queries()
    deliver(10)
    assert queries() == few


def test_the_pages_show_a_delivery_with_its_answers(
    admin_client: Client, submit: Any, reader: WebhookReader, receiver: Receiver
) -> None:
    job = submit(webhook=Webhook(receiver.url("fails")))
    cancel_job(job=job)
    turn_until(reader, lambda: Delivery.objects.filter(attempts=1).exists())
    delivery = Delivery.objects.get()
    for query in ("", f"?q={job.pk}", "?q=owner:alice", "?q=fails", "?status__exact=pending"):
        page = admin_client.get(DELIVERIES + query).content.decode()
        assert "broken" in page
        assert str(job.pk)[-12:] in page
    assert receiver.url("fails") not in admin_client.get(f"{DELIVERIES}?q=owner:bob").content.decode()
    page = admin_client.get(f"{DELIVERIES}{delivery.pk}/change/").content.decode()
    assert "500" in page
    assert "cancelled" in page
    assert f"?q={job.pk}" in admin_client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
