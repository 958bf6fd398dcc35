"""The thread `webhooks` of a web process: makes deliveries of the outbox's rows, and sends what is due.

It lives in the web process: that is there whatever runs the jobs (embedded, external, Celery), imports no torch and is ended by no
device, so that its waiting for receivers takes nothing from a model, and the end of a worker takes no message. Of several web
processes on one data folder one does it; where that ends, another takes over within a second. With PostgreSQL each machine may have
one: they share the work. All that counts is in rows: whenever this thread or its process ends, another goes on from there.
"""

import logging
import socket
import threading
import time
from typing import Any

from django.conf import settings
from django.db import connection

from api.jobs.api.database_calls import give_back_connection
from api.jobs.notify.channels import Subscription, drain, subscribe
from api.jobs.worker.supervisor import lock_file
from api.outages import outage_of
from api.webhooks import deliveries
from api.webhooks.models import Delivery, KeyWebhook
from api.webhooks.notices import Notices
from api.webhooks.retry_policy import Outcome
from api.webhooks.sending import Message, Sender
from api.webhooks.settings_of_keys import settings_of, settings_owner, signing_keys
from api.webhooks.signing import signed_headers
from config.secret import Unreadable

log = logging.getLogger("darkroom.webhooks")
TAKE_OVER_SECONDS = 0.5
IDLE_SECONDS = 1.0
REST_SECONDS = 0.2  # between two turns: what comes meanwhile is dealt with together
TROUBLE_SECONDS = 1.0
CLEAN_SECONDS = 3600.0
CANDIDATES = 2000
FIRST_TRIES = (192, 128)
"""Places for deliveries that were never tried, and how many of them one owner may have."""
LATER_TRIES = (64, 32)
UNREADABLE = "The secret can't be read: SECRET_KEY is another one now. Make a new secret in the admin."

_started: threading.Thread | None = None
_starting = threading.Lock()


def ensure_started() -> None:
    global _started
    with _starting:
        if _started is None:
            _started = threading.Thread(target=read_for_good, name="webhooks", daemon=True)
            _started.start()


def read_for_good() -> None:
    lock = None
    while lock is None:
        lock = lock_file(settings.DATA_DIR / "webhooks.lock")
        if lock is None:
            time.sleep(TAKE_OVER_SECONDS)
    WebhookReader().run()


class WebhookReader:
    def __init__(self) -> None:
        self.woken, self.wake_end = socket.socketpair()
        self.woken.setblocking(False)
        self.wake_end.setblocking(False)
        self.first: Sender[Delivery] = Sender(*FIRST_TRIES, self.wake)
        self.later: Sender[Delivery] = Sender(*LATER_TRIES, self.wake)
        self.notices = Notices(self.keys_or_none, self.wake)
        self.unrecorded: list[tuple[Delivery, Outcome]] = []
        self.keys: dict[str, list[bytes] | None] = {}
        self.ended = False
        self.next_clean = time.monotonic() + CLEAN_SECONDS

    def wake(self) -> None:
        """From any thread."""
        try:
            self.wake_end.send(b"!")
        except BlockingIOError:
            pass  # it will wake

    def run(self) -> None:
        subscription = subscribe("webhooks")
        while not self.ended:
            self.try_turn()
            time.sleep(REST_SECONDS)
            self.wait(subscription)
        subscription.close()
        connection.close()

    def wait(self, subscription: Subscription) -> None:
        subscription.wait(IDLE_SECONDS, self.woken)
        drain(self.woken)

    def try_turn(self) -> None:
        try:
            self.turn()
        except Exception as error:  # whatever it was: without this thread no webhook would be sent
            outage = outage_of(error)
            log.warning("Webhooks wait (%s)", outage.code if outage else "see below", exc_info=outage is None)
            connection.close()
            time.sleep(TROUBLE_SECONDS)
        finally:
            give_back_connection()

    def turn(self) -> None:
        self.keys.clear()
        self.record()
        work = deliveries.find_work()
        while work.ended and deliveries.create_deliveries():
            self.send_due()
        if work.due:
            self.send_due()
        self.notices.turn(any_running=work.running)
        if time.monotonic() >= self.next_clean:
            self.next_clean = time.monotonic() + CLEAN_SECONDS
            deliveries.delete_old()

    def record(self) -> None:
        """What can't be written now, since the database is away, is written with the next."""
        self.unrecorded += [*self.first.outcomes(), *self.later.outcomes()]
        deliveries.record(self.unrecorded)
        self.unrecorded = []

    # ------------------------------------------------------------ sending

    def send_due(self) -> None:
        for sender, is_first in ((self.first, True), (self.later, False)):
            besides = sender.full_urls()
            while sender.room > 0:
                found = deliveries.due(is_first=is_first, besides=besides).values_list("pk", "url", "owner_key")[:CANDIDATES]
                rows = list(found)
                if not rows:
                    break
                chosen = sender.choose(rows)
                for delivery in deliveries.take(chosen) if chosen else []:
                    self.send(sender, delivery)
                if len(rows) < CANDIDATES:
                    break
                besides = sorted({*sender.full_urls(), *(url for _, url, _ in rows)})

    def send(self, sender: Sender[Any], delivery: Delivery) -> None:
        try:
            keys = self.keys_of(delivery.owner_key)
        except Unreadable:
            log.error(UNREADABLE)
            self.unrecorded.append((delivery, Outcome(None, UNREADABLE, 0.0)))
            return
        if keys is None:
            deliveries.stop(Delivery.objects.filter(pk=delivery.pk))
            return
        headers = signed_headers(delivery.pk, delivery.event, delivery.body, keys)
        parent = deliveries.trace_parent_of(delivery.job_id)
        sender.send(Message(delivery, delivery.url, delivery.owner_key, delivery.body, headers, parent))

    def keys_of(self, owner_key: str) -> list[bytes] | None:
        """Read once a turn. None where the owner's webhooks are switched off. Raises Unreadable."""
        name = settings_owner(owner_key)
        if name not in self.keys:
            row: KeyWebhook = settings_of(owner_key)
            self.keys[name] = signing_keys(row) if row.enabled else None
        return self.keys[name]

    def keys_or_none(self, owner_key: str) -> list[bytes] | None:
        try:
            return self.keys_of(owner_key)
        except Unreadable:
            return None
