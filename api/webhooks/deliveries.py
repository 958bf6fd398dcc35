"""Deliveries: made of the outbox's rows, taken to be sent, and what came of that."""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from api import tracing
from api.files.fetching import MAX_SECONDS
from api.jobs.models import Job, JobEnding
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.outbox import take_unread
from api.jobs.store.statements import run
from api.jobs.store.transitions import clock
from api.jobs.webhooks import COMPLETED, Webhook
from api.webhooks.bodies import body_of_ending
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.retry_policy import GONE, Outcome, next_state
from api.webhooks.settings_of_keys import defaults, settings_owner

log = logging.getLogger("darkroom.webhooks")
CHUNK = 50
LEASE_SECONDS = MAX_SECONDS + 5
MOST_ANSWERS = 20
SWITCHED_OFF = "Webhooks are switched off for this key."
Status = Delivery.Status


# ---------------------------------------------------------------- what there is to do


class Work(NamedTuple):
    """Whether there are endings to make deliveries of, deliveries that are due, and running jobs that have a webhook."""

    ended: bool
    due: bool
    running: bool


def find_work() -> Work:
    """By one statement: every job's events wake the reader, and for most there is nothing to do, which the ORM takes 2 ms to find."""
    rows = run(
        f"""SELECT EXISTS (SELECT 1 FROM {JobEnding._meta.db_table} WHERE NOT dispatched),
            EXISTS (SELECT 1 FROM {Delivery._meta.db_table} WHERE next_attempt_at <= {clock()} AND status = 'pending'),
            EXISTS (SELECT 1 FROM {Job._meta.db_table} WHERE status = 'running' AND webhook IS NOT NULL)"""  # noqa: S608
    )
    return Work(*map(bool, rows[0]))


# ---------------------------------------------------------------- from the outbox


def create_deliveries() -> int:
    """Of the oldest endings that have a webhook; how many there were. What they say is read before the transaction begins."""
    endings = list(JobEnding.objects.filter(dispatched=False).order_by("pk")[:CHUNK])
    if not endings:
        return 0
    bodies = {ending.pk: body_of_ending(ending) for ending in endings if COMPLETED in Webhook.from_json(ending.webhook).events}
    silent = set(KeyWebhook.objects.filter(enabled=False).values_list("owner_key", flat=True))
    with atomic_without_sync(), transaction.atomic():  # a power cut undoes all of it, and it is done again
        taken = take_unread("dispatched", [ending.pk for ending in endings])
        Delivery.objects.bulk_create(
            [delivery_of(ending, bodies[ending.pk], silent) for ending in taken if ending.pk in bodies]
        )
    return len(endings)


def delivery_of(ending: JobEnding, body: str, silent: set[str]) -> Delivery:
    delivery = Delivery(
        job_id=ending.job_id, owner_key=ending.owner_key, url=Webhook.from_json(ending.webhook).url, event=COMPLETED, body=body
    )
    if settings_owner(ending.owner_key) in silent:
        delivery.status, delivery.next_attempt_at = Status.STOPPED, None
        delivery.answers = [Outcome(None, SWITCHED_OFF, 0.0).to_json()]
    return delivery


# ---------------------------------------------------------------- what is due


def due(*, is_first: bool, besides: Sequence[str]) -> QuerySet[Delivery]:
    """Deliveries whose time has come, to other URLs than `besides`, the oldest first: those never tried, or the others."""
    waiting = Delivery.objects.filter(next_attempt_at__lte=Now(), status=Status.PENDING)
    waiting = waiting.filter(attempts=0) if is_first else waiting.filter(attempts__gt=0)
    return waiting.exclude(url__in=besides).order_by("next_attempt_at", "pk")


def take(ids: Sequence[uuid.UUID]) -> list[Delivery]:
    """Those of them that no other process has taken meanwhile. They are this one's for LEASE_SECONDS."""
    with atomic_without_sync(), transaction.atomic():
        rows = Delivery.objects.filter(pk__in=ids, status=Status.PENDING, next_attempt_at__lte=Now())
        taken = list(rows.select_for_update(skip_locked=True))
        leased = Now() + timedelta(seconds=LEASE_SECONDS)
        Delivery.objects.filter(pk__in=[delivery.pk for delivery in taken]).update(next_attempt_at=leased)
    return taken


def count_undelivered() -> dict[str, int]:
    """By status. What is in the outbox is pending, too, whether it becomes a delivery or not."""
    counts = {
        status: Delivery.objects.filter(status=status).count() for status in (Status.PENDING, Status.FAILED, Status.STOPPED)
    }
    counts[Status.PENDING] += JobEnding.objects.filter(dispatched=False).count()
    return {status.value: count for status, count in counts.items()}


def trace_parent_of(job_id: uuid.UUID) -> str:
    """What asked for the job; '' where traces are off, or the job is gone."""
    if not tracing.is_on():
        return ""
    return Job.objects.filter(pk=job_id).values_list("trace_parent", flat=True).first() or ""


def waits() -> dict[str, float]:
    """Seconds: since the first of those that are not delivered came; and for how long the first has been due, which nobody sends."""
    pending = Delivery.objects.filter(status=Status.PENDING)
    created = [*pending.order_by("pk").values_list("created_at", flat=True)[:1]]
    due = [
        *pending.filter(next_attempt_at__lte=Now()).order_by("next_attempt_at").values_list("next_attempt_at", flat=True)[:1]
    ]
    ended = [*JobEnding.objects.filter(dispatched=False).order_by("pk").values_list("created_at", flat=True)[:1]]
    return {"oldest": seconds_since([*created, *ended]), "overdue": seconds_since([*due, *ended])}


def seconds_since(times: Sequence[datetime | None]) -> float:
    """Since the earliest of them; 0 where there is none."""
    now = timezone.now()
    return max((0.0, *((now - time).total_seconds() for time in times if time)))


# ---------------------------------------------------------------- what came of it


def record(outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
    if outcomes:
        with atomic_without_sync(), transaction.atomic():
            for delivery, outcome in outcomes:
                record_one(delivery, outcome)


def record_one(delivery: Delivery, outcome: Outcome) -> None:
    row = Delivery.objects.select_for_update().filter(pk=delivery.pk).first()
    if row is None or (row.status == Status.STOPPED and not outcome.is_taken):  # meanwhile by a person
        return
    row.attempts += 1
    row.answers = [*row.answers, outcome.to_json()][-MOST_ANSWERS:]
    row.status, wait = next_state(row.attempts, outcome)
    row.next_attempt_at = None if wait is None else Now() + timedelta(seconds=wait)  # type: ignore[assignment]
    row.save(update_fields=["attempts", "answers", "status", "next_attempt_at"])
    if outcome.status == GONE:
        give_up_url(row)
    if row.status == Status.FAILED:
        log.warning("The webhook of job %s was given up after %d tries: %s", row.job_id, row.attempts, outcome.text[:200])


def give_up_url(delivery: Delivery) -> None:
    """Its receiver is gone: what waits for it is not sent, and it is no key's default any more."""
    stop(Delivery.objects.filter(owner_key=delivery.owner_key, url=delivery.url))
    default = KeyWebhook.objects.filter(owner_key=settings_owner(delivery.owner_key), url=delivery.url, gone_at=None)
    if default.update(gone_at=Now()):
        defaults.forget()
        log.warning("The webhook of the key %s answered 410, and is used no more", delivery.owner_key)


# ---------------------------------------------------------------- by people


def stop(deliveries: QuerySet[Delivery]) -> int:
    """Those that still wait; how many."""
    return deliveries.filter(status=Status.PENDING).update(status=Status.STOPPED, next_attempt_at=None)


def send_again(deliveries: QuerySet[Delivery]) -> int:
    """At once, with the id that it had: a receiver sees that it is the same message. Its tries are counted anew."""
    return deliveries.update(status=Status.PENDING, attempts=0, next_attempt_at=Now())


def delete_old() -> int:
    """Those that are done with, past their retention. In chunks: no long lock."""
    past = Now() - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    old = Delivery.objects.filter(created_at__lt=past).exclude(status=Status.PENDING).order_by("created_at")
    count = 0
    while ids := list(old.values_list("pk", flat=True)[:CHUNK]):
        count += Delivery.objects.filter(pk__in=ids).delete()[0]
    return count
