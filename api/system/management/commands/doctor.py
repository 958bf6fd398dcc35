"""Says what this machine is, what works, and what is wrong with its cure. Ends with 1 where something is wrong."""

from django.core.management.base import BaseCommand

from api.system.diagnosis import EXAMINATIONS, Finding, Level

MARKS: dict[Level, str] = {"fine": " ok ", "note": "note", "wrong": "BAD "}


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []  # it runs them itself, and goes on

    def handle(self, *args: object, **options: object) -> None:
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
