"""Takes workers out of work: they finish what they run and claim nothing more; what is queued goes to others.

`--this` is this machine, with the workers that start here later. With `--exit` workers end, with exit status 0, once they are drained, and
an embedded worker is not started again. `--undo` takes it back, and `--wait` waits until nothing runs there.
"""

import socket
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from api.errors import DarkroomError
from api.jobs.draining import drain, find_worker, undo_drain, undrained, workers_of
from api.jobs.models import Drain, Job
from api.jobs.states import Status

TELL_SECONDS = 5.0
POLL_SECONDS = 0.3


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "--worker", metavar="ID", help="one worker, by its id or the end of it, as /api/status/ and the admin list it"
        )
        which.add_argument("--machine", metavar="NAME", help="all workers of a machine, by its host name")
        which.add_argument("--this", action="store_true", help="all workers of this machine")
        parser.add_argument("--exit", action="store_true", help="workers end once they are drained")
        parser.add_argument("--undo", action="store_true", help="back to work")
        parser.add_argument(
            "--wait",
            type=float,
            nargs="?",
            const=3600.0,
            metavar="SECONDS",
            help="until nothing runs there, an hour where not said",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            worker_id = find_worker(options["worker"]).pk if options["worker"] else None
        except DarkroomError as error:
            raise CommandError(error.detail) from None
        hostname = socket.gethostname() if options["this"] else options["machine"] or ""
        if options["undo"]:
            return self.undo(Drain.objects.filter(worker_id=worker_id, hostname=hostname))
        asked = drain(worker_id=worker_id, hostname=hostname, exits=options["exit"])
        self.stdout.write(f"{len(workers_of(asked))} workers of {asked} claim nothing more.")
        if options["wait"] is not None:
            self.wait(asked, options["wait"])

    def undo(self, drains: Any) -> None:
        if not undo_drain(drains):
            raise CommandError("It was not drained.")
        self.stdout.write(self.style.SUCCESS("Back to work."))

    def wait(self, asked: Drain, seconds: float) -> None:
        deadline, last_line = time.monotonic() + seconds, time.monotonic()
        while left := (workers_of(asked) if asked.exits else undrained(asked)):
            running = Job.objects.filter(status=Status.RUNNING, worker__in=left).count()
            if time.monotonic() >= deadline:
                still = f"{len(left)} workers still run {running} jobs"
                raise CommandError(f"After {seconds:.0f} s {still}. They claim nothing more; wait again.")
            if time.monotonic() >= last_line + TELL_SECONDS:
                last_line = time.monotonic()
                self.stdout.write(f"{len(left)} workers run {running} jobs.")
                self.stdout.flush()
            time.sleep(POLL_SECONDS)
        self.stdout.write(self.style.SUCCESS("Drained."))
