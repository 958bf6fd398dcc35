"""The worker's second thread: keeps leases and the Worker row alive, hears cancellations, sweeps, and ends a process that hangs."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.draining import drain_of, refuse_addressed_jobs
from api.jobs.models import Drain, Worker
from api.jobs.notify.channels import subscribe
from api.jobs.running import RunningJob
from api.jobs.store.workers import is_sweeper, longest_lived
from api.jobs.worker.hang_detection import end_if_hanging
from api.jobs.worker.occupancy import Occupancy
from api.jobs.worker.retention import clean_history
from api.jobs.worker.sweep import sweep
from api.jobs.worker.warming import WarmUp
from api.specs import Spec

log = logging.getLogger("darkroom.worker")
SWEEP_SECONDS = 5.0
CLEAN_SECONDS = 600.0
Clean = Callable[[Callable[[], bool]], None]
"""It is given what tells it to stop."""


class LeaseKeeper(threading.Thread):
    """Holds what the model thread works on. `hold` is called by that thread; the rest runs here.

    `describe` gives the Worker row's fields (state, device, loaded_models), cheaply: it is called at each heartbeat.
    """

    def __init__(
        self,
        worker: Worker,
        describe: Callable[[], dict[str, object]],
        clean: Clean = clean_history,
        occupancy: Occupancy | None = None,
    ) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self.worker, self.describe, self.clean = worker, describe, clean
        self.occupancy = occupancy or Occupancy()
        self.ended = threading.Event()
        self.runs: Sequence[RunningJob[Spec]] = ()
        self.drain: Drain | None = None
        self.warm_up: WarmUp | None = None
        self.next_heartbeat = self.next_sweep = 0.0
        self.next_report = float("inf")
        self.reported: object = None
        self.is_alone = False
        """Whether no other worker was alive when it was looked up last."""
        self.next_clean = time.monotonic() + CLEAN_SECONDS / 10
        self.cleaner = threading.Thread()

    def hold(self, runs: Sequence[RunningJob[Spec]]) -> None:
        self.runs = runs

    def report_soon(self) -> None:
        """The state has changed: say so at the next turn, not more than twice a second, and only where it is still another one then."""
        self.next_report = min(self.next_report, time.monotonic() + 0.5)

    def run(self) -> None:
        subscription = subscribe("lease_keeper")
        while not self.ended.is_set():
            heard = subscription.wait(min(1.0, settings.JOB_HEARTBEAT_SECONDS / 2))
            try:
                close_old_connections()
                self.turn(heard=bool(heard))
            except Exception:  # whatever it was: a worker without its lease keeper would lose every job it runs
                log.warning("The lease keeper stumbled; it goes on", exc_info=True)
                connection.close()
                self.renew_first()
                time.sleep(0.5)
        subscription.close()
        connection.close()

    def turn(self, *, heard: bool = True) -> None:
        """`heard`: a notification, most likely of a cancellation. One that was lost is found with the next heartbeat."""
        end_if_hanging(self.runs, self.warm_up)
        now = time.monotonic()
        beats = now >= self.next_heartbeat or (now >= self.next_report and self.has_news())
        if heard or beats:
            self.pass_on_cancellations()
            self.look_for_drain()
        if beats:
            self.next_heartbeat = now + settings.JOB_HEARTBEAT_SECONDS
            self.beat()
        if now >= self.next_sweep:
            self.next_sweep = now + SWEEP_SECONDS
            self.sweep_in_turn()
        if now >= self.next_clean and not self.cleaner.is_alive():
            self.next_clean = now + CLEAN_SECONDS
            self.cleaner = threading.Thread(target=self.clean_quietly, name="cleaner", daemon=True)
            self.cleaner.start()

    def has_news(self) -> bool:
        """Whether a state that has lasted, or the models, are others than those in the row. A job of milliseconds is none."""
        self.next_report = float("inf")
        return self.reported != news_of(self.describe())

    def sweep_in_turn(self) -> None:
        """A few workers sweep for all: a thousand at once would be most of what the database does."""
        first = longest_lived()
        self.is_alone = first == [self.worker.pk]
        if is_sweeper(self.worker.pk, first):
            sweep()

    def renew_first(self) -> None:
        """The database was away, for the other workers too: when it is back, they all renew their leases before any row is handed back."""
        self.next_heartbeat = 0.0
        self.next_sweep = time.monotonic() + max(SWEEP_SECONDS, 2 * settings.JOB_HEARTBEAT_SECONDS)

    def clean_quietly(self) -> None:
        """In a thread of its own: minutes of tidying must not hold up a heartbeat."""
        try:
            self.clean(self.ended.is_set)
        except Exception:
            log.warning("Tidying up failed; it is tried again", exc_info=True)
        finally:
            connection.close()

    def tokens(self) -> list[uuid.UUID]:
        return list({run.job.lease_token for run in self.runs if not run.ended and run.job.lease_token})

    def pass_on_cancellations(self) -> None:
        tokens = self.tokens()
        asked = lifecycle.cancelled_ids(tokens) if tokens else set()
        for run in self.runs:
            if run.id in asked:
                run.cancel_asked.set()

    def look_for_drain(self) -> None:
        before, self.drain = self.drain, drain_of(self.worker)
        if before != self.drain:
            log.info("Worker %s %s", self.worker, "claims nothing more" if self.drain else "claims again")
            self.report_soon()
        if self.drain:
            refuse_addressed_jobs([self.worker.pk])  # what came since it was asked

    def beat(self) -> None:
        self.occupancy.tick()
        lifecycle.extend_leases(self.tokens(), [run.id for run in self.runs if not run.ended])
        report = self.describe()
        Worker.objects.filter(pk=self.worker.pk).update(heartbeat_at=Now(), **report)
        self.reported = news_of(report)


def news_of(report: dict[str, object]) -> object:
    """What of a report others act on: the state, and which models are held."""
    models = report.get("loaded_models")
    return report.get("state"), [model["id"] for model in models] if isinstance(models, list) else None
