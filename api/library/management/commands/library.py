"""The files of LIBRARY_DIRS: scan them now, list them, say why one can't be used, compute hashes, move a file, verify its content."""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from api.library.hashing import FileChanged, hash_file, hash_rows
from api.library.models import Kind, LibraryFile
from api.library.moving import NotMoved, move_file
from api.library.scan import scan_library
from api.library.source import named


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        commands.add_parser("scan", help="bring the list up to date with the folders now")
        listing = commands.add_parser("list", help="all files, or those of a kind or family")
        listing.add_argument("--kind", choices=Kind.values)
        listing.add_argument("--family")
        why_not = commands.add_parser("why-not", help="why files can't be used")
        why_not.add_argument(
            "names", nargs="*", metavar="NAME", help="ids, file names or paths below the folder (default: all)"
        )
        hashing = commands.add_parser("hash", help="compute the hashes that are missing")
        hashing.add_argument("names", nargs="*", metavar="NAME")
        moving = commands.add_parser("move", help="move a file with what lies beside it; its id and its hashes stay")
        moving.add_argument("name", metavar="NAME")
        moving.add_argument("folder", type=Path, metavar="FOLDER", help="in one of LIBRARY_DIRS")
        verify = commands.add_parser("verify", help="read files whole, and compare them with the hashes that are known")
        verify.add_argument("names", nargs="*", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LIBRARY_DIRS:
            raise CommandError("LIBRARY_DIRS names no folder, and there is no folder models/ in this one.")
        commands: dict[str, Callable[..., None]] = {
            "scan": self.scan,
            "list": self.list_files,
            "why-not": self.why_not,
            "hash": self.hash,
            "move": self.move,
            "verify": self.verify,
        }
        if options["what"] != "scan" and not LibraryFile.objects.exists():  # no server has run yet
            self.scan()
        commands[options["what"]](**options)

    def scan(self, **_: Any) -> None:
        report = scan_library()
        for problem in report.problems:
            self.stderr.write(problem, self.style.WARNING)
        self.stdout.write(f"{report}.")

    def list_files(self, *, kind: str | None, family: str | None, **_: Any) -> None:
        rows = LibraryFile.objects.all()
        rows = rows.filter(kind=kind) if kind else rows
        rows = rows.filter(family=family) if family else rows
        for row in rows.iterator():
            own = "".join(f"  {key}={value}" for key, value in row.stated_settings())
            state = "" if row.is_usable else f"  not usable: {row.why_not}"
            self.stdout.write(
                f"{row.entry_id}  {row.kind}  {row.family or '-'}  {row.size / 1e6:.1f} MB  {row.path}{own}{state}"
            )
        self.stdout.write(f"{rows.count()} files.")

    def why_not(self, *, names: list[str], **_: Any) -> None:
        rows = self.chosen(names)
        shown = [row for row in rows if names or not row.is_usable]
        for row in shown:
            self.stdout.write(f"{row.path}: {row.why_not or 'It can be used.'}")
        if not shown:
            self.stdout.write("Every file can be used.")

    def hash(self, *, names: list[str], **_: Any) -> None:
        rows = self.chosen(names) if names else LibraryFile.objects.unhashed()
        wanted = rows.count()
        done = hash_rows(rows, tell=self.stdout.write)
        self.stdout.write(f"{done} of {wanted} files have their hashes now.")

    def move(self, *, name: str, folder: Path, **_: Any) -> None:
        rows = self.chosen([name])
        if len(rows) > 1:
            raise CommandError(f"'{name}' names several files; name one by its id: {', '.join(row.entry_id for row in rows)}.")
        try:
            moved = move_file(rows[0], folder.absolute())
        except NotMoved as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{rows[0].entry_id} is at {moved} now.")

    def verify(self, *, names: list[str], **_: Any) -> None:
        wrong = 0
        rows = self.chosen(names).filter(is_folder=False, missing_since__isnull=True)
        for row in rows.iterator():
            if complaint := compare(row):
                wrong += 1
                self.stdout.write(self.style.ERROR(f"{row.path}: {complaint}"))
        if wrong:
            raise CommandError(f"{wrong} of {rows.count()} files are not as they should be.")
        self.stdout.write(f"{rows.count()} files are as they should be.")

    def chosen(self, names: list[str]) -> QuerySet[LibraryFile]:
        """Raises CommandError."""
        if not names:
            return LibraryFile.objects.all()
        pks: list[int] = []
        for name in names:
            found = list(named(name, LibraryFile.objects.all()).values_list("pk", flat=True))
            if not found:
                raise CommandError(f"The library has no file '{name}'. `manage.py library scan` looks for new ones.")
            pks += found
        return LibraryFile.objects.filter(pk__in=pks)


def compare(row: LibraryFile) -> str:
    """What is wrong with its content; "" where nothing is known to be. What is in no list of hashes has only its header to go by."""
    if row.reason_kind == LibraryFile.ReasonKind.UNREADABLE:
        return row.reason
    try:
        found = hash_file(row.path)
    except FileChanged:
        return "It changed while it was read."
    except OSError as error:
        return f"It can't be read: {error.strerror}."
    if row.sha256 and row.sha256 != found.sha256:
        return "Its content has changed since it was hashed, though its size and time have not: the disk or a program has damaged it."
    if row.stated_sha256 and row.stated_sha256 != found.sha256:
        return "It is not the file that its sidecar describes: the sha256 differs, so that its download is damaged or another version."
    return ""
