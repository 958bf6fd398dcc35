"""Celery wakes workers: a message carries a job's id and wakes a worker, which claims rows as every worker does.

A worker starts with `celery -A config worker`, on every machine that has a device, with the same settings as the web process.

Pool `threads` with concurrency 1 (prefork breaks CUDA, solo blocks heartbeats), prefetch 1, late acknowledgement, no result backend.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

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
