"""Says what this machine is, what works, and what is wrong with its cure. Ends with 1 where something is wrong.

With --speed it measures instead how many pictures a second are made here, by the engine and by plain diffusers, in about a minute.
"""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from api.errors import DarkroomError
from api.system.diagnosis import EXAMINATIONS, Finding, Level
from api.system.selectors import live_workers
from api.system.worker_trial import first_sentence, sentence_for_start

MARKS: dict[Level, str] = {"fine": " ok ", "note": "note", "wrong": "BAD "}


def is_worker_alive() -> bool:
    """No, where there is no database to say so: the measurement needs none."""
    try:
        return bool(live_workers())
    except DatabaseError:
        return False


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []  # it runs them itself, and goes on

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--speed", action="store_true", help="measure pictures a second, by the engine and by plain diffusers"
        )

    def handle(self, *args: object, **options: object) -> None:
        if options["speed"]:
            self.measure_speed()
        else:
            self.examine()

    def examine(self) -> None:
        bad = 0
        for title, examine in EXAMINATIONS.items():
            self.stdout.write(self.style.MIGRATE_HEADING(title))
            for finding in examine():
                self.show(finding)
                bad += finding.level == "wrong"
        if bad:
            self.stdout.write(
                self.style.ERROR(f"\n{bad} {'thing is' if bad == 1 else 'things are'} wrong; the cures are above.")
            )
            raise SystemExit(1)
        self.stdout.write(self.style.SUCCESS("\nAll is well."))

    def show(self, finding: Finding) -> None:
        style = {"fine": self.style.SUCCESS, "note": self.style.WARNING, "wrong": self.style.ERROR}[finding.level]
        self.stdout.write(f"  {style(MARKS[finding.level])}  {finding.text}")
        if finding.cure:
            self.stdout.write(f"        → {finding.cure}")

    def measure_speed(self) -> None:
        if is_worker_alive():
            self.stderr.write("A worker is alive: what it does meanwhile slows these figures.", self.style.WARNING)
        self.tell("Trying the device")
        try:
            from api.system.worker_runtime import start_runtime

            start_runtime()
        except Exception as error:
            raise CommandError(sentence_for_start(error)) from error
        from api.system.speed import measure_speed  # imports transformers, which start_runtime has told to be silent

        try:
            lines = measure_speed(self.tell)
        except DarkroomError as error:
            raise CommandError(error.detail) from error
        except RuntimeError as error:  # of PyTorch's: memory, most likely, since the model is there twice
            raise CommandError(f"It can't be measured here: {first_sentence(error)}.") from error
        self.tell("")
        for line in lines:
            self.stdout.write(line)

    def tell(self, text: str) -> None:
        """One line that changes, on a terminal; else a line each."""
        if self.stderr.isatty():
            self.stderr.write(f"\r{text:<70}", ending="")
        elif text:
            self.stderr.write(text, lambda line: line)
