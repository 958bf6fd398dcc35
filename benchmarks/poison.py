"""Jobs that end their worker, and harmless ones beside them: how long the harmless ones wait; exit code 1 where one waits too long.

    python -m benchmarks.poison
    python -m benchmarks.poison --killers 8 --seconds 300 --load-models --database postgresql://user@localhost/postgres

The bound is one start of a worker, measured first (the longer of two kills of an idle one), and ALLOWED_SECONDS.
"""

import json
import sys
import time
import urllib.request
from datetime import timedelta
from typing import Any

from benchmarks.harness import make_server, median, parser, prepare, print_machine, print_table, until
from benchmarks.kill_test import Run, kill
from tests.live import LiveServer

ALLOWED_SECONDS = 5.0
EVERY_SECONDS = 5.0
STARTS = 2
PATIENCE = 300.0
SETTLED_SECONDS = 32.0  # an idle worker that ends sooner after its start is replaced after a pause (supervisor.HEALTHY_SECONDS)


def submit(server: LiveServer, kind: str) -> str:
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    request = urllib.request.Request(f"{server.url}/api/test-jobs/", json.dumps({"kind": kind}).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(json.load(reply)["id"])


def has_ended(job_id: str) -> bool:
    from api.jobs.models import Job

    return Job.objects.get(pk=job_id).is_final


def measure_start(server: LiveServer) -> float:
    """From the end of an idle worker to the end of a job that waits for the next one."""
    run_one(server)
    time.sleep(SETTLED_SECONDS)
    for _, process in Run(server, 1, 0, 0).find_worker():
        kill(process)
    started = time.monotonic()
    run_one(server)
    return time.monotonic() - started


def run_one(server: LiveServer) -> None:
    job_id = submit(server, "noop")
    until(lambda: has_ended(job_id), PATIENCE)


def send_harmless_ones(server: LiveServer, seconds: float) -> list[str]:
    started, sent = time.monotonic(), []
    while time.monotonic() - started < seconds:
        sent.append(submit(server, "noop"))
        time.sleep(max(0.0, started + len(sent) * EVERY_SECONDS - time.monotonic()))
    return sent


def judge(killers: list[str], harmless: list[str], starts: list[float]) -> tuple[list[tuple[str, Any]], int]:
    from api.jobs.models import Job

    jobs = list(Job.objects.filter(pk__in=harmless))
    waits = [(job.finished_at - job.created_at) / timedelta(seconds=1) for job in jobs if job.finished_at]
    bound = max(starts) + ALLOWED_SECONDS
    late = sum(wait > bound for wait in waits)
    lost = sum(job.status != "succeeded" for job in jobs)
    poison = Job.objects.filter(pk__in=killers)
    ended = ", ".join(f"{job.status} after {job.attempt} attempts" for job in poison)
    told = [
        ("one start of a worker", f"{min(starts):.1f} to {max(starts):.1f} s"),
        ("killing jobs", ended),
        ("harmless jobs", f"{len(jobs)}, {len(jobs) - lost} succeeded"),
        ("they waited", f"{median(waits):.2f} s (median), {max(waits):.2f} s at most"),
        (f"later than {bound:.1f} s", late),
    ]
    return told, late + lost


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--killers", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=240.0, help="for how long a harmless job comes every five seconds")
    arguments.add_argument("--load-models", action="store_true", help="a worker as it is served: with torch, and warmed up")
    options = arguments.parse_args()
    data = prepare(options, LOAD_MODELS="true" if options.load_models else "false")
    print_machine(data)
    server = make_server(data, JOB_RUNNER="embedded")
    server.start()
    starts = [measure_start(server) for _ in range(STARTS)]
    killers = [submit(server, "crash") for _ in range(options.killers)]
    harmless = send_harmless_ones(server, options.seconds)
    until(lambda: all(map(has_ended, harmless)), PATIENCE)
    rows, violations = judge(killers, harmless, starts)
    server.stop()
    print_table(f"Poison: {options.killers} jobs that end their worker, and a harmless one every {EVERY_SECONDS:.0f} s", rows)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
