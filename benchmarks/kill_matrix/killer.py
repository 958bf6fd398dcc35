"""Kills the parts of a cell one after another, at moments that a seed decides, and measures how long nothing ended after each."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil
from django.db import DatabaseError, InterfaceError, connection

from benchmarks.kill_matrix.parts import Parts
from benchmarks.kill_test import command_of, kill

T = TypeVar("T")
PATIENCE_SECONDS = 180.0
REST_SECONDS = 1.5
AWAY_SECONDS = (2.0, 6.0)
EXTRA_SECONDS = 2.0
LONG_SECONDS = 10.0
"""After which it is told what is under way."""


class Killer:
    def __init__(self, parts: Parts, kills: int, seed: int, jobs_per_kill: int, say: Callable[[str], None]) -> None:
        self.parts, self.kills, self.jobs_per_kill, self.say = parts, kills, jobs_per_kill, say
        self.extra = 0
        self.starting: threading.Thread | None = None
        self.random = random.Random(f"{parts.cell.name} {seed}")
        self.bag = self.fill_bag()
        self.killed: Counter[str] = Counter()
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.stalls: list[str] = []
        self.stopped = False

    def fill_bag(self) -> Iterator[str]:
        """Every victim comes as often as it is named, in an order that is new each time."""
        while True:
            names = list(self.parts.cell.victims)
            self.random.shuffle(names)
            yield from names

    def kill_all(self) -> None:
        self.wait_for_end("the start", count_ended(), time.monotonic())
        while self.killed.total() < self.kills and not self.stopped:
            time.sleep(self.random.random() * REST_SECONDS)
            victim = next(self.bag)
            before, started = count_ended(), time.monotonic()
            getattr(self, f"kill_{victim}")()
            self.killed[victim] += 1
            self.recovery[victim].append(self.wait_for_end(f"kill {self.killed.total()} ({victim})", before, started))
        self.wait_for_broker()

    @property
    def may_be_sent(self) -> int:
        """How many jobs: so many for each kill, and more where nothing is left to end."""
        return (self.killed.total() + 2) * self.jobs_per_kill + self.extra

    def wait_for_end(self, after: str, before: int, started: float) -> float:
        """Until a job has ended, since a kill of what hasn't begun proves little. The seconds that it took."""
        next_extra, told = started + EXTRA_SECONDS, False
        while time.monotonic() - started < PATIENCE_SECONDS and not self.stopped:
            if time.monotonic() > next_extra:
                next_extra, self.extra = time.monotonic() + EXTRA_SECONDS, self.extra + 1
            if not told and time.monotonic() - started > LONG_SECONDS:
                told = True
                self.say(f"{after}: nothing ended for {LONG_SECONDS:.0f} s; {when_back(describe_work)}")
            if count_ended() > before:
                seconds = time.monotonic() - started
                self.say(f"{after}: a job ended after {seconds:.1f} s")
                return seconds
            time.sleep(0.05)
        if not self.stopped:
            self.stalls.append(after)
        return time.monotonic() - started

    # ------------------------------------------------------------ victims

    def kill_worker(self) -> None:
        if self.parts.workers:
            worker = self.random.choice(self.parts.workers)
            if worker.process is not None:
                kill(psutil.Process(worker.process.pid))
                worker.process.wait()
            return worker.start()
        for process in self.children():
            if "manage.py" in " ".join(command_of(process)):
                return kill(process)

    def kill_web(self) -> None:
        """The process that serves; gunicorn starts another."""
        for process in self.serving():
            kill(process)

    def kill_gunicorn(self) -> None:
        server, serving = self.parts.server, self.serving()
        if server.process is not None:
            server.process.kill()
            server.process.wait()
        for process in serving:
            kill(process)
        server.start(wait=False)

    def kill_postgres(self) -> None:
        assert self.parts.postgres is not None
        self.parts.postgres.kill_and_start()

    def kill_broker(self) -> None:
        """Jobs go on without it, and so do the kills, while it starts."""
        assert self.parts.broker is not None
        self.wait_for_broker()
        self.parts.broker.stop()
        self.starting = threading.Thread(target=self.parts.broker.start)
        self.starting.start()

    def wait_for_broker(self) -> None:
        if self.starting is not None:
            self.starting.join()

    def kill_s3(self) -> None:
        assert self.parts.s3 is not None
        self.parts.s3.be_away(self.random.uniform(*AWAY_SECONDS))

    def children(self) -> list[psutil.Process]:
        process = self.parts.server.process
        try:
            return psutil.Process(process.pid).children(recursive=True) if process else []
        except psutil.NoSuchProcess:
            return []

    def serving(self) -> list[psutil.Process]:
        return [child for child in self.children() if "manage.py" not in " ".join(command_of(child))]


def count_ended() -> int:
    from api.jobs.models import Job
    from api.jobs.states import FINAL

    return when_back(lambda: Job.objects.filter(status__in=FINAL).count())


def describe_work() -> str:
    from api.jobs.models import Job, Worker

    running = Job.objects.filter(status="running", lease_token__isnull=False).order_by("started_at")
    jobs = [f"{job.kind} of {job.worker} attempt {job.attempt} {job.progress}" for job in running]
    workers = [f"{worker} {worker.state}" for worker in Worker.objects.exclude(state=Worker.State.STOPPED)]
    queued = Job.objects.filter(status="queued").count()
    return f"{queued} queued; running: {', '.join(jobs) or 'none'}; workers: {', '.join(workers) or 'none'}"


def when_back(ask: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Its answer, however long the database is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (DatabaseError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
