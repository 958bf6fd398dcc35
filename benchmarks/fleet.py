"""A fleet against the real queue on PostgreSQL: workers that claim, keep their leases and end jobs, clients that submit and wait.

    python -m benchmarks.fleet --database postgresql://… [--workers 1000] [--clients 10000] [--owners 1000] [--models 20] [--held 2]
        [--rows 0] [--seconds 60] [--job-seconds 5] [--processes 2] [--connections 12] [--listeners 0]

A worker sleeps instead of running a model, for `--job-seconds` on average; everything else is the queue's own code (see
fleet_share.py). `--rows`: queued before anything starts. `--listeners`: connections that hear notifications beside those of the
processes, as each worker of a real fleet has two.
"""

import multiprocessing
import os
import selectors
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import replace

import psutil
import psycopg

from benchmarks.database_load import DatabaseLoad
from benchmarks.fleet_share import Counts, Plan, run_share
from benchmarks.harness import parser, prepare, print_machine, print_table

WAITED = """SELECT COUNT(*), PERCENTILE_CONT(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM started_at - created_at))
    FROM jobs_job WHERE started_at IS NOT NULL AND body_hash <> 'before'"""


def add_arguments(made: ArgumentParser) -> ArgumentParser:
    counts = {"workers": 1000, "clients": 10_000, "owners": 1000, "models": 20, "held": 2, "rows": 0, "processes": 2}
    for name, default in {**counts, "connections": 12, "listeners": 0}.items():
        made.add_argument(f"--{name}", type=int, default=default)
    made.add_argument("--seconds", type=float, default=60)
    made.add_argument("--job-seconds", type=float, default=5)
    return made


def shares(options: Namespace) -> list[Plan]:
    """Workers and clients spread over the processes."""
    plan = Plan(0, 0, options.owners, options.models, options.held, options.seconds, options.job_seconds, options.connections)
    count = options.processes
    return [
        replace(plan, workers=spread(options.workers, count, n), clients=spread(options.clients, count, n), seed=n)
        for n in range(count)
    ]


def spread(total: int, count: int, number: int) -> int:
    return total // count + (number < total % count)


def fill_queue(rows: int, owners: int, models: int) -> None:
    """Queued rows, each owner's in turn, as submitting them one by one leaves them."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO jobs_job (id, kind, status, model_id, params, prompt, progress, warnings, timings, priority, batch_key,
                attempt, max_attempts, owner_key, body_hash, event_sequence, virtual_start, virtual_finish, owner_order)
            SELECT (SUBSTR(MD5('a'), 1, 12) || '7' || LPAD(TO_HEX(n), 19, '0'))::uuid, 'noop', 'queued', 'model-' || n %% %s, '{}', '',
                '{}', '[]', '{}', 0, '', 0, 5, 'owner-' || n %% %s, 'before', 0, n / %s, n / %s + 1, n / %s
            FROM GENERATE_SERIES(0, %s) AS n""",
            [models, *[owners] * 4, rows - 1],
        )
        cursor.execute("ANALYZE jobs_job")


class Listeners(threading.Thread):
    """Connections that hear every notification; what they hear is read and thrown away."""

    def __init__(self, url: str, count: int) -> None:
        super().__init__(daemon=True)
        self.selector, self.connections = (
            selectors.DefaultSelector(),
            [psycopg.connect(url, autocommit=True) for _ in range(count)],
        )
        for connection in self.connections:
            connection.execute("LISTEN darkroom_worker")
            os.set_blocking(connection.fileno(), False)
            self.selector.register(connection.fileno(), selectors.EVENT_READ)

    def run(self) -> None:
        while self.connections:
            for key, _ in self.selector.select(1):
                if not os.read(key.fd, 65536):
                    self.selector.unregister(key.fd)


def measure(options: Namespace) -> tuple[Counts, list[tuple[str, str]], float]:
    """What all processes counted, what the database did, and the processors that the simulation itself took."""
    context = multiprocessing.get_context("spawn")
    ready, go, results = context.Semaphore(0), context.Event(), context.Queue()
    plans = shares(options)
    processes = [context.Process(target=run_share, args=(plan, ready, go, results), daemon=True) for plan in plans]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    if options.listeners:
        Listeners(os.environ["DATABASE_URL"], options.listeners).start()
    load = DatabaseLoad(os.environ["DATABASE_URL"])
    load.start()
    began = time.monotonic()
    go.set()
    watch(options.seconds)
    rows = load.stop()
    spent = sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes) / (time.monotonic() - began)
    counted = add_up([results.get(timeout=4 * options.job_seconds + 60) for _ in plans])
    for process in processes:
        process.join(10)
    return counted, rows, spent


def watch(seconds: float) -> None:
    """Says how far it is, each ten seconds."""
    from django.db.models import Count

    from api.jobs.models import Job

    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(left, 10))
        states = dict(Job.objects.values_list("status").annotate(count=Count("pk")).order_by())
        print(f"  {time.monotonic() - began:.0f} s: {states}", flush=True)


def add_up(counts: list[Counts]) -> Counts:
    total = Counts()
    for one in counts:
        for name, value in vars(one).items():
            if name == "messages":
                total.messages = dict(Counter(total.messages) + Counter(value))
            else:
                setattr(total, name, getattr(total, name) + value)
    return total


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else 0.0


def describe(counts: Counts, options: Namespace, spent: float) -> list[tuple[str, str]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(WAITED)
        waited, found = cursor.fetchone()
    claims, waits = counts.claim_seconds, counts.thread_waits
    return [
        (
            "claims",
            f"{counts.claims / options.seconds:.0f}/s, and {counts.empty_claims / options.seconds:.0f}/s that found nothing",
        ),
        ("ended", f"{counts.ended / options.seconds:.0f}/s"),
        ("submitted", f"{counts.submitted / options.seconds:.0f}/s"),
        ("waiting in the queue, p50, p99", ", ".join(f"{one:.2f} s" for one in found or []) + f" of {waited} jobs"),
        ("where the model is held", f"{100 * counts.hits / max(counts.claims, 1):.1f} % of claims"),
        ("a claim, p50, p99", f"{1000 * percentile(claims, 0.5):.1f}, {1000 * percentile(claims, 0.99):.1f} ms"),
        (
            "wait for a thread of the simulation, p50, p99",
            f"{1000 * percentile(waits, 0.5):.1f}, {1000 * percentile(waits, 0.99):.1f} ms",
        ),
        ("processors of the simulation", f"{spent:.2f}"),
        ("still running at the end", str(left_running())),
        ("errors", ", ".join(f"{count} × {name}" for name, count in counts.messages.items()) or "none"),
    ]


def main() -> int:
    options = add_arguments(parser(__doc__ or "")).parse_args()
    if not options.database:
        sys.exit("A fleet needs PostgreSQL: give --database postgresql://…")
    print_machine(prepare(options))
    if options.rows:
        fill_queue(options.rows, options.owners, options.models)
    counts, load, spent = measure(options)
    print_table(
        f"{options.workers} workers, {options.clients} clients, {options.seconds:.0f} s", describe(counts, options, spent)
    )
    print_table("The database meanwhile", load)
    return 0 if counts.ended and not counts.errors and not left_running() else 1


def left_running() -> int:
    """Jobs that a worker claimed and did not end: none, once all have stopped."""
    from api.jobs.models import Job

    return Job.objects.filter(status="running").count()


if __name__ == "__main__":
    sys.exit(main())
