"""Tidies once what the worker tidies every ten minutes, and hands back jobs whose worker is gone."""

from django.core.management.base import BaseCommand

from api.jobs.worker.sweep import sweep
from api.system.maintenance import clean


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: object, **options: object) -> None:
        count = sweep()
        clean()
        self.stdout.write(f"Tidied; {count} jobs had lost their worker and were handed back.")
