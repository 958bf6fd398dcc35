"""Jobs of the tests' kinds, a receiver on this machine, and the reader, a turn at a time."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from api.jobs.models import Job
from api.jobs.webhooks import Webhook
from api.jobs.worker.loop import WorkerLoop
from api.webhooks.models import Delivery
from api.webhooks.reader import WebhookReader
from api.webhooks.settings_of_keys import defaults, replace_secret, settings_of
from tests.jobs.conftest import submit, test_kinds, until
from tests.webhooks.receiver import Receiver

__all__ = ["submit", "test_kinds"]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    defaults.forget()
    yield
    defaults.forget()


@pytest.fixture(autouse=True)
def this_machine(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def reader() -> WebhookReader:
    return WebhookReader()


@pytest.fixture
def finish(submit: Callable[..., Job], receiver: Receiver) -> Callable[..., Job]:
    """A job with a webhook to `path` of the receiver, which has ended."""

    def finish_one(path: str = "ok", kind: str = "noop", **fields: Any) -> Job:
        job = submit(kind, webhook=Webhook(receiver.url(path)), **fields)
        WorkerLoop().run_once()
        return job

    return finish_one


def turn_until(reader: WebhookReader, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    def turned() -> Any:
        reader.turn()
        return condition()

    return until(turned, seconds)


def ended(count: int = 1) -> Callable[[], bool]:
    """Whether so many deliveries are there, none of which waits for an answer or for another try."""
    return lambda: Delivery.objects.count() == count and not Delivery.objects.filter(status="pending").exists()


def secret_of(owner_key: str) -> str:
    return replace_secret(settings_of(owner_key))


def make_due() -> None:
    Delivery.objects.filter(status="pending").update(next_attempt_at=Now() - timedelta(seconds=1))
