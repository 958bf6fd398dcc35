"""Writes the database and the pictures that its rows name to a folder, consistent with each other, while the server runs.

A second backup to the same TARGET copies only files that are new. Stop it with Ctrl-C at any time: a half-written backup is none, and
the next one goes on with what was copied. Log-in sessions are left out; DATA_DIR/secret_key and downloaded models are no part of it.
"""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from api.system.backup.errors import BackupError
from api.system.backup.making import AGAIN, describe, make_backup
from api.system.backup.progress import Tell
from api.system.backup.pruning import Pruned
from api.system.diagnosis import bytes_text

NAMES_SHOWN = 5


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", type=Path, metavar="TARGET", help="a folder for all backups of this server")
        parser.add_argument("--keep", type=int, default=0, metavar="N", help="then keep the newest N backups of TARGET alone")

    def handle(self, *args: object, target: Path, keep: int, **options: object) -> None:
        if keep < 0:
            raise CommandError("--keep: at least 1, or 0 for all.")
        if target.exists() and not target.is_dir():
            raise CommandError(f"TARGET: {target} is a file. Name a folder.")
        try:
            folder, report, pruned = make_backup(target, Tell(self.tell), keep)
        except BackupError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {AGAIN}", returncode=130) from None
        self.tell(describe(report, report.rows))
        self.name(report.deleted, "were deleted while the backup was made, and are not in it")
        self.name(report.missing, "are named by rows and gone from the storage; `manage.py doctor` lists them")
        self.name(report.damaged, "are not what their rows say; they are kept as they are")
        self.stdout.write(self.style.SUCCESS(f"Backed up to {folder}"))
        if pruned is not None:
            self.tell_pruned(pruned)

    def tell_pruned(self, pruned: Pruned) -> None:
        for name, why in pruned.held.items():
            self.stderr.write(f"{name} stays: {why.rstrip('.')}. Delete its folder if you don't need it.")
        freed = f"{pruned.files} files ({bytes_text(pruned.bytes)}) that no other has"
        self.tell(f"{len(pruned.dropped)} older backups removed, and {freed}.")

    def name(self, names: list[str], what: str) -> None:
        if names:
            shown = ", ".join(names[:NAMES_SHOWN]) + (" and more" if len(names) > NAMES_SHOWN else "")
            self.stderr.write(f"{len(names)} files {what}: {shown}.")

    def tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
