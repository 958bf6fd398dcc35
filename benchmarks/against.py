"""Overhead, wake-up and history pages of this code beside those of another checkout, in pairs.

    python -m benchmarks.against ../other-checkout [--pairs 60] [--jobs 100000] [--database postgresql://…] [--folder /dev/shm]

Both servers run at once, each with a worker without models, and are asked in turn, `--block` times each: the one that is not asked
does nothing. Each line is the geometric mean of the pairs' ratios (this code's time over the other's), with its 95 % interval, and both
medians: by the clock, and of the processor time of the server's processes (web and worker), which says more where a machine is shared.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.arrivals import CheckoutServer, processor_milliseconds, ratio
from benchmarks.harness import SETTINGS, median, new_postgres_database, parser, print_table
from tests.live import ROOT, LiveServer

FILL = """
import sys, django; django.setup()
from django.db import connection
from benchmarks.history import fill
fill(int(sys.argv[1]))
with connection.cursor() as cursor: cursor.execute("ANALYZE")
"""
PAGES = {
    "/api/jobs/": "/api/jobs/",
    "jobs by status and model": "/api/jobs/?status=failed&model_id=sd-turbo",
    "jobs by kind, 100 rows": "/api/jobs/?kind=noop&limit=100",
    "jobs in progress (none)": "/api/jobs/?status=running",
}


@contextlib.contextmanager
def start(root: Path, folder: Path, options: Namespace, number: int) -> Iterator[CheckoutServer]:
    database = new_postgres_database(options.database, f"_{number}") if options.database else ""
    server = CheckoutServer(
        root,
        folder,
        DJANGO_SETTINGS_MODULE=SETTINGS,
        DATABASE_URL=database,
        MEDIA_ROOT=folder / "media",
        ENV_FILE=folder / "no.env",
        LOAD_MODELS="false",
        LOG_LEVEL="WARNING",
        MIN_FREE_DISK_BYTES="1M",
        MAX_QUEUED_JOBS=1_000_000,
        MAX_ACTIVE_JOBS_PER_KEY=1_000_000,
    )
    with server:
        server.wait_until(lambda: run(server, "noop")["status"] == "succeeded", "a job has ended")
        yield server


def run(server: LiveServer, kind: str) -> dict[str, Any]:
    reply = server.client.post("/api/test-jobs/", json={"kind": kind, "params": {}}, headers={"Prefer": "wait=60"})
    reply.raise_for_status()
    job: dict[str, Any] = reply.json()
    return job


def overhead(server: LiveServer) -> float:
    """Milliseconds from request to answer, less those that the job itself says to have slept."""
    started = time.monotonic()
    job = run(server, "picture")
    return (time.monotonic() - started - job["timings"].get("sleep", 0.0)) * 1000


def do_nothing(server: LiveServer) -> float:
    started = time.monotonic()
    run(server, "noop")
    return (time.monotonic() - started) * 1000


def wake_up(server: LiveServer) -> float:
    time.sleep(0.15)
    return max(float(run(server, "noop")["timings"]["queue"]) * 1000, 0.1)


JOBS: dict[str, Callable[[LiveServer], float]] = {
    "overhead of a picture": overhead,
    "a job that does nothing": do_nothing,
    "wake-up": wake_up,
}


def is_asked(name: str, options: Namespace) -> bool:
    return not options.only or any(word in name for word in options.only)


def fetch(path: str) -> Callable[[LiveServer], float]:
    def milliseconds(server: LiveServer) -> float:
        started = time.monotonic()
        server.client.get(path).raise_for_status()
        return (time.monotonic() - started) * 1000

    return milliseconds


def measure_block(server: LiveServer, measure: Callable[[LiveServer], float], block: int) -> tuple[float, float]:
    """Of one request in the mean: milliseconds by the clock, as `measure` says, and of the processor."""
    before = processor_milliseconds(server)
    by_clock = sum(measure(server) for _ in range(block)) / block
    time.sleep(0.02)  # what follows the answer: the worker's next look, the end of a thread
    return by_clock, (processor_milliseconds(server) - before) / block


def compare(servers: Sequence[LiveServer], measure: Callable[[LiveServer], float], options: Namespace) -> str:
    seen: tuple[list[tuple[float, float]], ...] = ([], [])
    for server in servers:
        measure_block(server, measure, options.block)
    for number in range(options.pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        found = {index: measure_block(servers[index], measure, options.block) for index in order}
        for place, pairs in enumerate(seen):
            pairs.append((found[0][place], found[1][place]))
    return "; of the processor ".join(describe(pairs) for pairs in seen)


def describe(pairs: Sequence[tuple[float, float]]) -> str:
    here, there = (median([pair[index] for pair in pairs]) for index in (0, 1))
    return f"{ratio(pairs)}, medians {here:.1f} and {there:.1f} ms"


def fill(server: CheckoutServer, jobs: int) -> None:
    python = str(server.root / ".venv/bin/python") if server.root != ROOT else sys.executable
    subprocess.run([python, "-c", FILL, str(jobs)], cwd=server.root, env=server.environment, check=True)


def main() -> int:
    arguments = parser(__doc__ or "")
    arguments.add_argument("other", type=Path, help="another checkout, with its .venv")
    arguments.add_argument("--pairs", type=int, default=60)
    arguments.add_argument("--block", type=int, default=5, help="requests in a row, to each")
    arguments.add_argument("--only", nargs="*", default=[], help="words of the lines that are measured; all without")
    arguments.add_argument("--jobs", type=int, default=100_000, help="in the history whose pages are fetched")
    options = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="darkroom-benchmark-", dir=options.folder) as folder,
        contextlib.ExitStack() as stack,
    ):
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {'PostgreSQL' if options.database else 'SQLite'}")
        roots = (ROOT, options.other.resolve())
        servers = [stack.enter_context(start(root, Path(folder) / str(n), options, n)) for n, root in enumerate(roots)]
        rows = [(name, compare(servers, measure, options)) for name, measure in JOBS.items() if is_asked(name, options)]
        if pages := {name: path for name, path in PAGES.items() if is_asked(name, options)}:
            for server in servers:
                fill(server, options.jobs)
            rows += [(name, compare(servers, fetch(path), options)) for name, path in pages.items()]
        print_table(f"{ROOT.name} over {roots[1].name}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
