"""The events `started` and `progress` of running jobs: sent once, as far as their receivers can be reached, and kept nowhere."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.webhooks import PROGRESS, STARTED, Webhook
from api.webhooks.bodies import body_of
from api.webhooks.retry_policy import GONE, Outcome
from api.webhooks.sending import Message, Sender
from api.webhooks.signing import signed_headers

INTERVAL_SECONDS = 0.5
PLACES, OF_ONE_OWNER = 32, 16


@dataclass
class Heard:
    """What the receiver of one running job was sent."""

    started: bool = False
    progress: Any = None
    sent_at: float = float("-inf")
    is_gone: bool = False


class Notices:
    """`keys_of` gives an owner's signing keys; None for one whose webhooks are switched off."""

    def __init__(self, keys_of: Callable[[str], list[bytes] | None], report: Callable[[], object]) -> None:
        self.keys_of = keys_of
        self.sender: Sender[uuid.UUID] = Sender(PLACES, OF_ONE_OWNER, report)
        self.heard: dict[uuid.UUID, Heard] = {}

    def turn(self, *, any_running: bool) -> None:
        """`any_running`: whether any running job has a webhook."""
        for job_id, outcome in self.sender.outcomes():
            self.note(job_id, outcome)
        jobs = self.running_jobs() if any_running else []
        self.heard = {job.pk: self.heard.get(job.pk) or Heard() for job in jobs}
        for job in jobs:
            self.tell(job, self.heard[job.pk])

    def running_jobs(self) -> list[Job]:
        running = Job.objects.filter(status=Status.RUNNING, webhook__isnull=False)
        return list(running.only("owner_key", "webhook", "progress"))

    def tell(self, job: Job, heard: Heard) -> None:
        """One event at a time: a receiver that is slow gets fewer."""
        webhook = Webhook.from_json(job.webhook)
        event = next_event(job, webhook, heard)
        if event is None or heard.is_gone or not self.sender.may_send(webhook.url, job.owner_key):
            return
        keys = self.keys_of(job.owner_key)
        if keys is None:
            return
        running = Job.objects.filter(pk=job.pk, status=Status.RUNNING).first()
        if running is None:
            return
        body = body_of(running, webhook.origin)
        message_id = uuid.uuid5(job.pk, event if event == STARTED else f"{event} {running.event_sequence}")
        headers = signed_headers(message_id, event, body, keys)
        self.sender.send(Message(job.pk, webhook.url, job.owner_key, body, headers, running.trace_parent))
        heard.started, heard.progress, heard.sent_at = True, running.progress, time.monotonic()

    def note(self, job_id: uuid.UUID, outcome: Outcome) -> None:
        if outcome.status == GONE and job_id in self.heard:
            self.heard[job_id].is_gone = True


def next_event(job: Job, webhook: Webhook, heard: Heard) -> str | None:
    if STARTED in webhook.events and not heard.started:
        return STARTED
    if PROGRESS not in webhook.events or time.monotonic() - heard.sent_at < INTERVAL_SECONDS:
        return None
    return PROGRESS if job.progress and job.progress != heard.progress else None
