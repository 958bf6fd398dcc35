"""The worker's loop: claim → gather a batch → run → record. One thread runs models; beside it the lease keeper and the publisher of
progress have theirs.

Jobs that are worked on in steps (chats) have a session, which others join while it runs. Sessions and batches take turns: while
sessions are open, at most one batch of something else is run between two turns, and a turn ends after TURN_SECONDS. So a picture
behind long chats waits for a turn, and chats behind many pictures go on after each batch of them.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.models.functions import Now

from api import tracing
from api.errors import DarkroomError, DeviceFault
from api.jobs import lifecycle
from api.jobs.disk import unexpected_error
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled
from api.jobs.kinds import AnyKind, Session, get_kind
from api.jobs.models import Job, Worker
from api.jobs.notify import wakeups
from api.jobs.notify.channels import Subscription, subscribe
from api.jobs.processes import identity
from api.jobs.running import Outcome, RunningJob
from api.jobs.start_failures import WARM_UP_FIELD
from api.jobs.worker.endings import end, fail_remaining, start_readable, stop_remaining
from api.jobs.worker.leases import Clean, LeaseKeeper
from api.jobs.worker.occupancy import Occupancy
from api.jobs.worker.placement import Placement, kinds_taken
from api.jobs.worker.progress_publisher import ProgressPublisher
from api.jobs.worker.retention import clean_history
from api.jobs.worker.shutdown import GRACE_SECONDS, interrupt_after
from api.jobs.worker.warming import WarmUp, Work
from api.metric_definitions import claim_sizes, claims
from api.outages import outage_of
from api.specs import Spec
from config.logs import job_id as job_id_of_log

log = logging.getLogger("darkroom.worker")
IDLE_SECONDS = 1.0  # a notification wakes it sooner; this only bounds what a lost one costs
LONGEST_TURN_SECONDS = 5.0
TURN_SECONDS = 2.0
JOIN_SECONDS = 0.05  # how often a session looks for jobs that want to join it
FAULT_EXIT = 70


class WorkerLoop:
    """One process's claim on the queue.

    `describe` reports the device and the loaded models for the Worker row, `held_models` the ids of these alone, at each claim;
    `clean` is the slow maintenance; `warm_up` is called once, as soon as no job waits: then the worker is ready.
    """

    def __init__(
        self,
        *,
        worker_id: uuid.UUID | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        clean: Clean = clean_history,
        warm_up: Work | None = None,
        held_models: Callable[[], set[str]] | None = None,
    ) -> None:
        pid = os.getpid()
        row = Worker(hostname=socket.gethostname(), pid=pid, process=identity(pid), kinds=kinds_taken())
        row.id = worker_id or row.id
        row.save(force_insert=True)
        self.worker = row
        self.describe = describe
        self.held_models = held_models or self.described_models
        self.stopping = threading.Event()  # claim no more
        self.warm_up = WarmUp(warm_up, row.pk, self.stopping) if warm_up else None  # until it has been made
        self.warm_up_failure = ""
        self.state = self.idle_state
        self.interrupted = threading.Event()  # and stop what runs, at its next step
        self.occupancy = Occupancy()
        self.keeper = LeaseKeeper(row, self.report, clean, self.occupancy)
        self.publisher = ProgressPublisher()
        self.placement = Placement(row, self.held_models)
        self.sessions: dict[str, Session[Spec]] = {}  # by batch key
        self.in_turn: Session[Spec] | None = None  # the one that took the last step
        self.batch: list[RunningJob[Spec]] = []  # what runs beside them
        self.has_claimed, self.claims_in_a_row = False, 0
        self.woken = False  # by a notification, since the last claim
        self.said_drained = False

    @property
    def idle_state(self) -> Worker.State:
        return Worker.State.LOADING if self.warm_up else Worker.State.IDLE

    def report(self) -> dict[str, object]:
        report = {"state": Worker.State.DRAINING if self.keeper.drain else self.state, **self.describe()}
        if self.warm_up_failure:
            report["device"] = {**report.get("device", {}), WARM_UP_FIELD: self.warm_up_failure}
        return report

    def described_models(self) -> set[str]:
        return {model["id"] for model in self.describe().get("loaded_models", [])}

    def run(self, subscription: Subscription | None = None) -> None:
        """Until `stop` is called. Without `subscription`, the database's notifications wake it."""
        subscription = subscription or subscribe("worker")
        self.start_threads()
        if self.warm_up is None:
            log.info("Worker %s is ready", self.worker)
        while not self.stopping.is_set() and not self.is_done():
            try:
                if not self.run_once() and not self.warm_up_once():
                    close_old_connections()  # not at each turn: to open one takes longer than to claim
                    self.placement.refresh_for(IDLE_SECONDS)
                    self.woken = bool(subscription.wait(self.placement.seconds_to_wait(IDLE_SECONDS)))
            except (DatabaseError, InterfaceError):
                log.warning("The database didn't answer; trying again", exc_info=True)
                connection.close()
                self.stopping.wait(IDLE_SECONDS)
        wakeups.flush_web_notification()
        self.finish_sessions()
        subscription.close()
        self.end()

    def start_threads(self) -> None:
        self.keeper.look_for_drain()  # of this machine: before anything is claimed
        lifecycle.release_dead_workers()  # so are those that died here
        self.keeper.start()
        self.publisher.start()

    def is_done(self) -> bool:
        """Whether it was asked to end once it is drained, and is."""
        asked = self.keeper.drain
        return asked is not None and asked.exits and not self.sessions

    def say_drained(self, drained: bool) -> None:
        """Once each: by this thread, which claims, so that nothing is claimed after it."""
        if drained != self.said_drained:
            Worker.objects.filter(pk=self.worker.pk).update(drained_at=Now() if drained else None)
            self.said_drained = drained

    def run_once(self) -> bool:
        """Claim and run one batch, and give each session a turn. Whether there was anything to do."""
        draining = self.keeper.drain is not None
        self.say_drained(draining and not self.sessions)
        jobs = [] if draining else self.claim()
        self.woken = False
        self.has_claimed, self.claims_in_a_row = True, self.claims_in_a_row + 1 if jobs else 0
        wakeups.flush_web_notification(already_sent=bool(jobs))  # a claim notifies the web itself
        if jobs:
            self.count_claim(jobs)
            with wakeups.deferred_web_notification(when=len(jobs) == 1 and not self.sessions):  # the next claim follows at once
                self.start(jobs)
        if self.sessions:
            wakeups.flush_web_notification()  # their turns come before the next claim
        busy = bool(jobs or self.sessions)
        self.take_turns()
        return busy

    def claim(self) -> list[Job]:
        return lifecycle.claim_jobs(
            worker=self.worker,
            besides=list(self.sessions),
            is_first=not self.has_claimed,
            is_likely=self.claims_in_a_row > 1 or (self.woken and self.keeper.is_alone),
            placement=self.placement.condition(),
        )

    def count_claim(self, jobs: list[Job]) -> None:
        """Before they run, which may bring their model into memory."""
        kind, model_id = jobs[0].kind, jobs[0].model_id
        claim_sizes.observe(len(jobs), kind)
        claims.add(kind, str(model_id in self.held_models()).lower() if model_id else "none", by=len(jobs))

    def warm_up_once(self) -> bool:
        """Whether there was something to warm up. A failure is for the job that needs it to tell."""
        if self.warm_up is None:
            return False
        self.set_state(Worker.State.LOADING)
        self.keeper.warm_up = self.warm_up
        self.warm_up.run()
        self.warm_up_failure = self.warm_up.failure
        self.warm_up = self.keeper.warm_up = None
        self.set_state(Worker.State.IDLE)
        log.info("Worker %s is ready", self.worker)
        return True

    def start(self, jobs: list[Job]) -> None:
        """Run a batch to its end, or open a session with it. What was tried before has the worker to itself."""
        kind, was_tried = get_kind(jobs[0].kind), jobs[0].attempt > 1
        self.batch = start_readable(jobs, self.publisher, self.interrupted)
        if not self.batch:
            return
        self.hold()
        try:
            if was_tried:
                self.finish_sessions()
            with self.guarded(self.batch):
                self.begin(kind)
        finally:
            self.batch = []
            self.hold()
        if was_tried:
            self.finish_sessions()

    def begin(self, kind: AnyKind) -> None:
        """`batch` has no session under its key yet: those whose key has one join it, and are not claimed here."""
        self.give_turn(None)
        session = kind.open_session(self.batch[0].spec)
        if session is None:
            for outcome in kind.run(self.batch):
                self.write(outcome)
            fail_remaining(
                self.batch, DarkroomError("internal_error", 500, "The job ended without a result; the log has more.")
            )
        else:
            session.join(self.batch)
            self.sessions[self.batch[0].job.batch_key] = session

    @contextmanager
    def guarded(self, runs: list[RunningJob[Spec]]) -> Iterator[None]:
        """What a handler raises ends these runs, each in its way."""
        before = job_id_of_log.set(str(runs[0].id) if runs else "")
        runs = list(runs)
        try:
            with tracing.use(runs[0].span if runs else None):
                yield
        except JobCancelled:
            stop_remaining(runs)
        except DarkroomError as error:
            fail_remaining(runs, error)
        except DeviceFault:
            log.critical("The device failed; this worker ends, and another takes its jobs", exc_info=True)
            os._exit(FAULT_EXIT)
        except Exception as error:
            if isinstance(error, CONNECTION_ERRORS) and outage_of(error):
                raise  # the rows are still ours by lease; the sweep gives them to whoever reaches the database
            log.exception("Job %s failed", ", ".join(str(run.id) for run in runs))
            fail_remaining(runs, unexpected_error(error))
        finally:
            job_id_of_log.reset(before)

    def write(self, outcome: Outcome) -> None:
        """What goes wrong with one job's end is no fault of those that run beside it. A row that can't be reached goes to whoever
        reaches the database, when its lease is over.
        """
        try:
            with self.guarded([outcome.running]):
                end(outcome)
        except CONNECTION_ERRORS:
            log.warning("The end of job %s could not be written; its lease ends instead", outcome.running.id, exc_info=True)
            outcome.running.ended = True
            connection.close()

    def hold(self) -> None:
        """Tell the lease keeper and the publisher what is ours."""
        runs = [*self.batch, *(run for session in self.sessions.values() for run in session.running)]
        self.keeper.hold(runs)
        self.occupancy.change(len(runs))
        self.publisher.hold(runs)
        state = Worker.State.BUSY if runs else self.idle_state
        if state != self.state:
            self.set_state(state)

    # ---------------------------------------------------------------- sessions

    def take_turns(self, *, joining: bool = True) -> None:
        for key in list(self.sessions):
            self.take_turn(key, joining)
            if not self.sessions[key].running:
                self.close_session(key)

    def take_turn(self, key: str, joining: bool) -> None:
        """Steps of one session, for TURN_SECONDS at most and as long as it has something to do. Where it can't be told who wants to join,
        since the database is away, it goes on when that is back.
        """
        session, deadline, next_look = self.sessions[key], time.monotonic() + TURN_SECONDS, 0.0
        self.give_turn(session)
        while session.running and time.monotonic() < deadline:
            if joining and self.accepts and time.monotonic() >= next_look:
                self.let_join(key, session)
                next_look = time.monotonic() + JOIN_SECONDS
            self.step(key, session)
            if not session.worked:
                return

    def step(self, key: str, session: Session[Spec]) -> None:
        try:
            with self.guarded(list(session.running)):
                for outcome in session.step():
                    self.write(outcome)
        except CONNECTION_ERRORS:
            self.close_session(key)
            raise
        self.hold()

    @property
    def accepts(self) -> bool:
        return not self.stopping.is_set() and self.keeper.drain is None

    def give_turn(self, session: Session[Spec] | None) -> None:
        """What ran before lets go of what others could need."""
        if self.in_turn is not None and self.in_turn is not session:
            self.in_turn.pause()
        self.in_turn = session

    def let_join(self, key: str, session: Session[Spec]) -> None:
        jobs = lifecycle.claim_joining(worker=self.worker, batch_key=key, limit=session.room())
        if jobs:
            self.count_claim(jobs)
            session.join(start_readable(jobs, self.publisher, self.interrupted))
            self.hold()

    def finish_sessions(self) -> None:
        """Until every session has ended; nobody joins."""
        while self.sessions:
            self.take_turns(joining=False)

    def close_session(self, key: str) -> None:
        session = self.sessions.pop(key)
        self.in_turn = None if self.in_turn is session else self.in_turn
        session.close()
        self.hold()

    def set_state(self, state: Worker.State) -> None:
        self.state = state
        self.keeper.report_soon()

    def stop(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """Claim no more. What runs may end within `grace_seconds`; then it is handed back at its next step.

        For a thread that is not the loop's own: it uses the database, and in a signal handler that could be in the middle of a query.
        """
        self.stopping.set()
        interrupt_after(grace_seconds, self.interrupted)
        wakeups.notify_quietly("worker")
        connection.close()

    def end(self) -> None:
        self.keeper.ended.set()
        self.publisher.stop()
        for thread in (self.keeper, self.publisher):
            if thread.is_alive():
                thread.join(LONGEST_TURN_SECONDS)
        Worker.objects.filter(pk=self.worker.pk).update(state=Worker.State.STOPPED, loaded_models=[])
        log.info("Worker %s has ended", self.worker)
