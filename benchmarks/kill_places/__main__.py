import os
import subprocess
import sys
import time
from argparse import Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness import WorkerProcess, parser, prepare, print_machine, print_table, until
from benchmarks.kill_places.places import ORDER, PLACES, Place

PATIENCE = 240.0
ORPHAN_AGE = timedelta(0)
SIDE = 128


class Trial:
    def __init__(self, data: Path) -> None:
        self.data, self.order = data, data / "order"
        self.worker: WorkerProcess | None = None
        self.usual: Any = None

    def start_worker(self) -> None:
        self.worker = WorkerProcess(self.data)

    def submit(self) -> Any:
        from tests.backends.faults import submit_all

        return submit_all("starter", SIDE)

    def wait_for_all(self, jobs: dict[int, Any]) -> None:
        from api.jobs.models import Job
        from api.jobs.states import ACTIVE

        ids = [job.pk for job in jobs.values()]
        until(lambda: not Job.objects.filter(pk__in=ids, status__in=ACTIVE).exists(), PATIENCE)

    def make_usual(self) -> None:
        from tests.backends.faults import Found

        jobs = self.submit()
        self.wait_for_all(jobs)
        self.usual = Found.read(jobs)

    def try_place(self, place: Place) -> tuple[str, list[str]]:
        """How it went in words, and what is wrong."""
        from tests.backends.faults import Found

        self.wait_until_idle()
        self.order.write_text(place.name)
        jobs, begun = self.submit(), time.monotonic()
        died = self.wait_for_death()
        if died:
            self.start_worker()
        self.wait_for_all(jobs)
        wrong = [] if died else [f"the worker was not killed: {place.target}"]
        wrong += Found.read(jobs).differences(self.usual, {}) + find_leftovers()
        tries = sorted((job.attempt for job in jobs.values()), reverse=True)
        return f"{time.monotonic() - begun:.0f} s, tried {tries} times", wrong

    def wait_until_idle(self) -> None:
        """A warm-up passes the places, too."""
        from api.jobs.models import Worker

        assert self.worker is not None
        mine = Worker.objects.filter(pid=self.worker.process.pid, state=Worker.State.IDLE)
        until(mine.exists, PATIENCE)

    def wait_for_death(self) -> bool:
        assert self.worker is not None
        try:
            return self.worker.process.wait(PATIENCE / 4) < 0
        except subprocess.TimeoutExpired:
            return False


def find_leftovers() -> list[str]:
    from django.conf import settings

    from api.files.models import StoredFile
    from api.files.sweep import sweep_orphans
    from tests.jobs.invariants import broken_promises

    sweep_orphans(older_than=ORPHAN_AGE)
    files = {str(path.relative_to(settings.MEDIA_ROOT)) for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()}
    named = {name for pair in StoredFile.objects.values_list("name", "thumbnail_name") for name in pair if name}
    return [f"file and row don't agree: {name}" for name in sorted(files ^ named)] + broken_promises()


def choose(options: Namespace) -> list[Place]:
    return [place for place in PLACES if any(word in place.name for word in options.only.split(","))]


def main() -> int:
    arguments = parser("Kills a worker that makes real pictures at each place of their way.")
    arguments.add_argument("--only", default="", help="places whose name has one of these words in it: `decoding,commit`")
    options = arguments.parse_args()
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings", "EXTRA_APPS": "benchmarks.kill_places", "LOAD_MODELS": "true"}
    data = prepare(options, **environment, JOB_LEASE_SECONDS="8", JOB_HEARTBEAT_SECONDS="2")
    print_machine(data)
    trial = Trial(data)
    os.environ[ORDER] = str(trial.order)
    trial.start_worker()
    trial.make_usual()
    rows, wrong = [], 0
    for place in choose(options):
        told, found = trial.try_place(place)
        rows.append((place.name, "; ".join([told, *found])))
        print(f"  {place.name}: {rows[-1][1]}", flush=True)
        wrong += len(found)
    print_table("Kills at places", rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
