"""Celery wakes workers: a message carries a job's id and wakes a worker, which claims rows as every worker does.

A worker starts with `celery -A config worker`, on every machine that has a device, with the same settings as the web process.

Pool `threads` with concurrency 1 (prefork breaks CUDA, solo blocks heartbeats), prefetch 1, late acknowledgement, no result backend.
"""

import logging
import os
import time
from typing import Any

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import celeryd_init
from celery.utils.nodenames import default_nodename

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

NOISY = [
    "celery.bootsteps", "celery.worker", "celery.worker.consumer.consumer", "celery.worker.control", "celery.worker.pidbox",
    "kombu.common", "py.warnings",
]  # fmt: skip

app = Celery("darkroom", broker=settings.CELERY_BROKER_URL or "memory://")
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,  # the log stays ours
    worker_pool="threads",
    worker_concurrency=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # for good: jobs go on meanwhile, and after 100 tries the process would end
    broker_channel_error_retry=True,
    broker_connection_timeout=4,
    broker_transport_options={
        "max_retries": 1,
        "interval_start": 0,
        "interval_max": 0.5,
        "socket_connect_timeout": 4,  # Redis's: without them a request that sends a wake-up to a hanging broker hangs, too
        "socket_timeout": 5,
    },
)
app.autodiscover_tasks(["api.jobs.worker"])


@celeryd_init.connect
def name_node(instance: Any, **_: object) -> None:
    """Several on one machine, one for each device, have names of their own: Celery complains of others, and mixes up their answers."""
    if instance.hostname == default_nodename(None):
        instance.hostname = instance.hostname.replace("@", f"-{os.getpid()}@", 1)


REPEAT_SECONDS = 60.0


class Sentences(logging.Filter):
    """A broker that is away, or refuses us, is a sentence in the log now and then: no traceback, and not at each of its tries."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "py.warnings":
            return CPendingDeprecationWarning.__name__ not in record.getMessage()  # of what is not used here
        if record.levelno >= logging.CRITICAL and "restarts" not in str(record.msg):
            return True  # a fault of the program
        about = f"{record.msg} {record.args[:2] if isinstance(record.args, tuple) else ''}"
        now = time.monotonic()
        if now - self.last.get(about, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self.last = {text: moment for text, moment in self.last.items() if now - moment < REPEAT_SECONDS} | {about: now}
        error = record.exc_info[1] if record.exc_info else None
        text = " ".join(record.getMessage().split())
        record.msg, record.args = f"{text} ({type(error).__name__}: {error})" if error else text, ()
        record.exc_info = record.exc_text = None
        return True


sentences = Sentences()
for name in NOISY:
    logging.getLogger(name).addFilter(sentences)
