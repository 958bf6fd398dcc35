"""Moves the pictures' files from the storage of MEDIA_STORAGE_BEFORE to that of MEDIA_STORAGE, each compared by its hash.

The server runs meanwhile, with both settings: it writes to the new storage and looks in both. Stop it with Ctrl-C at any time, and run it
again to go on. With --delete-source each file is removed where it was once it has been read back from where it went.
"""

import time
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.errors import DarkroomError
from api.files.models import StoredFile
from api.files.moving import MoveReport, move_all
from api.files.storage import describe_storage
from api.system.diagnosis import bytes_text

TELL_SECONDS = 5
NAMES_SHOWN = 10
GO_ON = "Run the command again to go on."


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--delete-source", action="store_true", help="remove each file where it was, once it is verified")

    def handle(self, *args: object, **options: object) -> None:
        if "before" not in settings.STORAGES:
            raise CommandError(
                "Set MEDIA_STORAGE_BEFORE to the storage that the files are in and MEDIA_STORAGE to the one that they go to,"
                " start the server with both, and then run this command with the same settings."
            )
        self.stdout.write(f"From {describe_storage('before')} to {describe_storage()}:")
        report = self.move(bool(options["delete_source"]))
        if not report.is_whole:
            raise CommandError(sentence_of(report))
        self.stdout.write(self.style.SUCCESS("Every file is where it belongs."))
        done = "Now unset MEDIA_STORAGE_BEFORE." if options["delete_source"] else "--delete-source removes the old files."
        self.stdout.write(done)

    def move(self, remove_source: bool) -> MoveReport:
        report, last, total = MoveReport(), time.monotonic(), StoredFile.objects.count()
        try:
            for report in move_all(remove_source=remove_source):
                if time.monotonic() >= last + TELL_SECONDS:
                    last = time.monotonic()
                    self.tell(report, total)
        except KeyboardInterrupt:
            self.tell(report, total)
            raise CommandError(f"Stopped. {GO_ON}", returncode=130) from None
        except (OSError, DarkroomError) as error:
            self.tell(report, total)
            if isinstance(error, DarkroomError) and error.status == 409:
                raise CommandError(error.detail) from error
            raise CommandError(f"{error} {GO_ON}") from error
        self.tell(report, total)
        return report

    def tell(self, report: MoveReport, total: int) -> None:
        removed = f", {report.removed} removed where they were" if report.removed else ""
        self.stdout.write(
            f"{report.rows} of {total} pictures: {report.moved} files moved ({bytes_text(report.bytes)}),"
            f" {report.there} there already{removed}"
        )
        self.stdout.flush()


def sentence_of(report: MoveReport) -> str:
    parts = []
    for names, what in ((report.missing, "are in neither storage"), (report.damaged, "are not what their row says")):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN]) + (" and more" if len(names) > NAMES_SHOWN else "")
            parts.append(f"{len(names)} files {what}: {shown}.")
    return f"{' '.join(parts)} Delete these pictures in the admin, or bring their files back, and run the command again."
