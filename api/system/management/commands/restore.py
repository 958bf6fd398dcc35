"""Puts a backup back: its files into the storage that is set, and its database into the one of DATABASE_URL, which has to be empty.

The server and its workers are stopped meanwhile. Stop it with Ctrl-C at any time, and run it again to go on: until all files are there and
compared by their hashes, the database is as it was. With --replace what is in the database goes; files that no row names then are
removed by the sweep of orphans. A backup of an older version is migrated.
"""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from api.system.backup.errors import BackupError
from api.system.backup.progress import Tell
from api.system.backup.restoring import AGAIN, describe, restore_backup


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []  # the tables may not be there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source", type=Path, metavar="SOURCE", help="the TARGET of backup (its newest one), or one folder in it"
        )
        parser.add_argument(
            "--replace", action="store_true", help="also where the database has jobs, pictures or keys: they go"
        )

    def handle(self, *args: object, source: Path, replace: bool, **options: object) -> None:
        try:
            folder, report = restore_backup(source, Tell(self.tell), replace=replace)
        except BackupError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {AGAIN}", returncode=130) from None
        self.tell(describe(report, report.rows))
        if report.absent:
            self.stderr.write(f"{len(report.absent)} pictures had no file in the backup; their rows were removed.")
        self.stdout.write(self.style.SUCCESS(f"Restored from {folder}. Start the server."))

    def tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
