"""Wake-ups through Celery's broker, for workers on other machines (JOB_RUNNER=celery).

A thread of its own sends them: a broker that is slow, or away, holds up no request. What can't be sent is dropped, since rows decide
and every worker looks for them by itself each second (worker/loop.py).
"""

import logging
import threading
import time
from collections import deque
from typing import Any

from django.conf import settings

from api.metric_definitions import wakeups

log = logging.getLogger("darkroom.jobs")
MOST_WAITING = 1000
"""The oldest are dropped: there are no so many workers that could wait for one."""
REST_SECONDS = 5.0
"""After one that could not be sent; meanwhile the broker is not asked."""
STALE_SECONDS = 60
"""After which a worker has found the row by itself, or has been busy all the time: the message is not worth a look any more."""


class Publisher:
    """A connection of its own, in a thread of its own."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self.filled = threading.Condition()
        self.thread: threading.Thread | None = None
        self.connection: Any = None
        self.is_away = False

    def publish(self, job_id: str) -> None:
        with self.filled:
            self.waiting.append(job_id)
            self.filled.notify()
            if self.thread is None:
                self.thread = threading.Thread(target=self.send_for_good, name="broker", daemon=True)
                self.thread.start()

    def send_for_good(self) -> None:
        while True:
            with self.filled:
                self.filled.wait_for(lambda: self.waiting)
                job_id = self.waiting.popleft()
            if not self.try_to_send(job_id):
                time.sleep(REST_SECONDS)
                self.waiting.clear()

    def try_to_send(self, job_id: str) -> bool:
        try:
            self.send(job_id)
            wakeups.add("sent")
        except Exception as error:  # every transport has exceptions of its own
            wakeups.add("failed")
            if not self.is_away:
                log.warning("The broker takes no wake-ups (%s): workers find jobs by themselves, a moment later", reason(error))
            self.is_away = True
            self.disconnect()
            return False
        if self.is_away:
            log.info("The broker takes wake-ups again")
        self.is_away = False
        return True

    def send(self, job_id: str) -> None:
        """The message carries only the job's id."""
        from config.celery import app

        if self.connection is None:
            self.connection = app.connection_for_write()
        app.send_task("darkroom.wake", args=[job_id], retry=False, expires=STALE_SECONDS, connection=self.connection)

    def disconnect(self) -> None:
        """The next message declares its queue again, which a broker that was emptied, or restarted, may not know any more."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.collect()


publisher = Publisher()


def publish_if_celery(*, job_id: str, **_: object) -> None:
    """A receiver of `work_waiting`. Returns at once."""
    if settings.JOB_RUNNER == "celery":
        publisher.publish(job_id)


def reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{error.__class__.__name__}: {lines[0][:200]}" if lines else error.__class__.__name__
