"""Kills the worker and the web process over and over while clients send jobs, and counts what that cost: nothing, or exit code 1.

    python -m benchmarks.kill_test --kills 200 --jobs 2000
    python -m benchmarks.kill_test --kills 200 --jobs 2000 --database postgresql://user@localhost/postgres

Each job writes a picture and its rows. Clients send every job with an Idempotency-Key of its own, again until it is accepted.
"""

import collections
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psutil

from benchmarks.harness import make_server, parser, prepare, print_machine, print_table
from tests.live import LiveServer

CLIENTS = 8
PATIENCE_SECONDS = 120.0  # a start of a worker takes a minute where others keep every core busy


class Run:
    """The state that clients and killer share. `accepted` has every id that a client was ever told, by its key."""

    def __init__(self, server: LiveServer, kills: int, jobs: int, seed: int) -> None:
        self.server, self.kills, self.jobs = server, kills, jobs
        self.random = random.Random(seed)
        self.killed: collections.Counter[str] = collections.Counter()
        self.retries = 0
        self.accepted: dict[str, set[str]] = collections.defaultdict(set)
        self.refusals: list[int] = []

    @property
    def share_of_kills(self) -> float:
        return sum(self.killed.values()) / self.kills

    # ------------------------------------------------------------ clients

    def send_all(self) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self.send, range(self.jobs)))

    def send(self, number: int) -> None:
        """Job `number`, no sooner than its share of the kills has been: the two go side by side."""
        while self.share_of_kills < number / self.jobs - 0.01:
            time.sleep(0.02)
        key = f"job-{number}"
        body = self.body_of(number)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "respond-async"}
        while True:
            request = urllib.request.Request(f"{self.server.url}/api/test-jobs/", json.dumps(body).encode(), headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return self.accepted[key].add(json.load(reply)["id"])
            except urllib.error.HTTPError as error:
                self.refusals.append(error.code)
            except (OSError, http.client.HTTPException, ValueError):
                pass  # cut off, or not there: whether it was accepted is not known, so it is sent again
            self.retries += 1
            time.sleep(0.1)

    def body_of(self, number: int) -> dict[str, Any]:
        return {"kind": "picture", "params": {"data": f"job-{number}", "seconds": (number % 5) / 50}}

    # ------------------------------------------------------------ the killer

    def kill_all(self) -> None:
        while sum(self.killed.values()) < self.kills:
            self.wait_for_progress()
            time.sleep(self.random.random() * 0.25)
            turn = sum(self.killed.values())
            victims = self.find_worker() if turn % 2 == 0 else self.find_web(everything=turn % 4 == 3)
            for name, process in victims:
                kill(process)
                self.killed[name] += name != "gunicorn"
            if self.server.process is not None and self.server.process.poll() is not None:
                self.server.start(wait=False)

    def wait_for_progress(self) -> None:
        """Until some job has been finished since the last kill, for a kill of what hasn't begun proves little."""
        before = count_succeeded()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and count_succeeded() == before:
            time.sleep(0.03)

    def children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.server.process.pid).children(recursive=True) if self.server.process else []
        except psutil.NoSuchProcess:
            return []

    def find_worker(self) -> list[tuple[str, psutil.Process]]:
        return [("worker", child) for child in self.children() if "manage.py" in " ".join(command_of(child))][:1]

    def find_web(self, *, everything: bool) -> list[tuple[str, psutil.Process]]:
        """The process that serves; with `everything`, gunicorn's master too."""
        serving = [("web", child) for child in self.children() if "manage.py" not in " ".join(command_of(child))][:1]
        if everything and serving and self.server.process is not None:
            return [("gunicorn", psutil.Process(self.server.process.pid)), *serving]
        return serving


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        pass


def count_succeeded() -> int:
    from api.jobs.models import Job

    return Job.objects.filter(status="succeeded").count()


def wait_for_the_rest(patience: float = 90) -> None:
    """Until nothing is queued or running, or nothing has moved for longer than a lease and a sweep take."""
    from api.jobs.models import Job

    left, moved = -1, time.monotonic()
    while left != 0 and time.monotonic() - moved < patience:
        now = Job.objects.filter(status__in=["queued", "running"]).count()
        if now != left:
            left, moved = now, time.monotonic()
        time.sleep(0.2)


# ---------------------------------------------------------------- the verdict


def judge(run: Run, seconds: float) -> tuple[list[tuple[str, Any]], int]:
    from django.conf import settings
    from django.db.models import Count

    from api.files.models import StoredFile
    from api.files.sweep import sweep_orphans
    from api.images.models import GeneratedImage
    from api.jobs.models import Job, JobEvent

    states = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
    ids = {identifier for group in run.accepted.values() for identifier in group}
    succeeded = {str(pk) for pk in Job.objects.filter(status="succeeded").values_list("pk", flat=True)}
    swept = sweep_orphans(older_than=timedelta(0))
    on_disk = {str(path.relative_to(settings.MEDIA_ROOT)) for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()}
    in_rows = {name for pair in StoredFile.objects.values_list("name", "thumbnail_name") for name in pair}
    jobs_twice = Job.objects.values("idempotency_key").annotate(n=Count("pk")).filter(n__gt=1).count()
    pictures_twice = GeneratedImage.objects.order_by().values("job").annotate(n=Count("pk")).filter(n__gt=1).count()
    results_twice = (
        JobEvent.objects.filter(type="result").order_by().values("job").annotate(n=Count("pk")).filter(n__gt=1).count()
    )
    violations = {
        "lost": run.jobs - len(ids & succeeded),
        "doubled": jobs_twice + pictures_twice + results_twice + sum(len(group) - 1 for group in run.accepted.values()),
        "stuck": states.get("queued", 0) + states.get("running", 0),
        "jobs without picture, or the reverse": abs(states.get("succeeded", 0) - GeneratedImage.objects.count()),
        "rows without file": len(in_rows - on_disk),
        "files without row": len(on_disk - in_rows),
        "answers other than 202": len(run.refusals),
    }
    again = Job.objects.filter(attempt__gt=1).count()
    told = [
        ("kills", ", ".join(f"{count} of the {name}" for name, count in sorted(run.killed.items()) if count)),
        ("jobs", f"{run.jobs} in {seconds:.0f} s; {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}"),
        ("requests sent again", run.retries),
        ("jobs that were tried again", f"{again} (at most {max(Job.objects.values_list('attempt', flat=True))} times)"),
        ("files left by killed workers, swept", swept.files + swept.parts),
        *violations.items(),
    ]
    return told, sum(violations.values())


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--jobs", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    data = prepare(options)
    print_machine(data)
    server = make_server(data, JOB_RUNNER="embedded")
    server.start()
    run = Run(server, options.kills, options.jobs, options.seed)
    started = time.monotonic()
    killer = threading.Thread(target=run.kill_all)
    killer.start()
    run.send_all()
    killer.join()
    wait_for_the_rest()
    seconds = time.monotonic() - started
    server.stop()
    rows, violations = judge(run, seconds)
    print_table("Kill test", rows)
    if violations and (keep := os.environ.get("KEEP_LOG")):
        os.replace(server.log, keep)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
