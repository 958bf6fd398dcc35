"""A backup's way back: the files first, then the database in one transaction, then the migrations that came after it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models import Model
from django.db.models.functions import Now

from api.files.models import StoredFile
from api.jobs.models import Drain, Worker
from api.system.backup import postgres, sqlite
from api.system.backup.errors import BackupError, errors_as_sentences
from api.system.backup.manifests import (
    DATABASES,
    Manifest,
    application_version,
    find_backup,
    known_migrations,
    verify,
    write_durable_text,
)
from api.system.backup.media import RestoreReport, batches, put_back
from api.system.backup.progress import Tell
from api.system.diagnosis import bytes_text

AGAIN = "Run the command again: what was put back is not copied twice."
MARK = "restore.json"
"""In DATA_DIR: which restore was begun here. It may go on, whatever it has put into the database by then."""
MADE_ANEW = {"library.LibraryFile", "jobs.Worker", "jobs.Drain"}
"""Rows that a server makes by itself as it starts."""
NAMES_SHOWN = 5


def restore_backup(source: Path, tell: Tell, *, replace: bool) -> tuple[Path, RestoreReport]:
    """Raises BackupError, and KeyboardInterrupt where it is stopped: it goes on when it is run again."""
    folder = find_backup(source)
    manifest = Manifest.read(folder)
    with errors_as_sentences(Path(settings.DATA_DIR), AGAIN):
        ensure_fitting(manifest)
        verify(folder, manifest)
        with mark(folder, replace=replace):
            report = put_files_back(folder, manifest, tell)
            put_database_back(folder / DATABASES[connection.vendor], tell)
            call_command("migrate", verbosity=0, skip_checks=True)
            forget_absent(report)
            Drain.objects.all().delete()  # of the old server's machines
    return folder, report


def put_files_back(folder: Path, manifest: Manifest, tell: Tell) -> RestoreReport:
    report = RestoreReport()
    for report in put_back(folder):
        tell(describe(report, manifest.pictures))
    for names, what in ((report.missing, "missing"), (report.damaged, "not what was written: cut or changed")):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN]) + (" and more" if len(names) > NAMES_SHOWN else "")
            raise BackupError(
                f"Of the backup's files {len(names)} are {what}: {shown} in {folder.parent / 'media'}. The database was not changed."
                " Bring them back, or name another backup."
            )
    return report


def put_database_back(path: Path, tell: Tell) -> None:
    tell.now("The files are there; now the database.")
    (postgres.restore if connection.vendor == "postgresql" else sqlite.restore)(path, tell)


def forget_absent(report: RestoreReport) -> None:
    """Pictures that had no file any more when the backup was made: most were deleted while it was."""
    for ids in batches(report.absent):
        for file in StoredFile.objects.filter(pk__in=ids):
            file.delete()


def describe(report: RestoreReport, pictures: int) -> str:
    return f"{report.rows} of {pictures} pictures: {report.copied} files copied ({bytes_text(report.bytes)}), {report.there} there already"


# ---------------------------------------------------------------- what must be so before


def ensure_fitting(manifest: Manifest) -> None:
    if manifest.database != connection.vendor:
        raise BackupError(
            f"This is a backup of {manifest.database}, and DATABASE_URL names {connection.vendor}. Set DATABASE_URL to a database"
            f" of {manifest.database}."
        )
    known = known_migrations()
    newer = [f"{app}.{name}" for app, names in manifest.migrations.items() for name in names if name not in known.get(app, [])]
    if newer:
        raise BackupError(
            f"This backup was made by a newer Darkroom ({manifest.version}; here is {application_version()}): it has the migration"
            f" {newer[-1]}, which is unknown here. Update Darkroom, and run the command again."
        )


@contextmanager
def mark(folder: Path, *, replace: bool) -> Iterator[None]:
    path, this = Path(settings.DATA_DIR) / MARK, {"backup": str(folder), "database": str(connection.settings_dict["NAME"])}
    ensure_nobody_works()
    if not (path.exists() and json.loads(path.read_text()) == this):
        if not replace and (what := first_rows()):
            raise BackupError(
                f"The database is not empty: it has {what}. Name an empty one (DATABASE_URL, DATA_DIR), or replace all"
                " that is in it with --replace."
            )
        write_durable_text(path, json.dumps(this))
    yield
    path.unlink()


def has_tables() -> bool:
    return Worker._meta.db_table in connection.introspection.table_names()


def ensure_nobody_works() -> None:
    """A worker would run jobs between two databases, and take the files for orphans."""
    if not has_tables():
        return
    recent = Now() - timedelta(seconds=settings.JOB_LEASE_SECONDS)
    workers = Worker.objects.filter(heartbeat_at__gte=recent).exclude(state=Worker.State.STOPPED)
    worker = workers.only("hostname", "pid").first()  # an older version's table may lack other columns
    if worker is not None:
        raise BackupError(
            f"The worker {worker} uses this database. Stop the server and its workers, and run the command again"
            f" ({settings.JOB_LEASE_SECONDS} s later, where they were killed)."
        )


def first_rows() -> str:
    """'' for a database without rows of ours: accounts, permissions and what a server makes by itself don't count."""
    there = set(connection.introspection.table_names())
    for model in apps.get_models():
        if not model.__module__.startswith("api.") or model._meta.label in MADE_ANEW or model._meta.db_table not in there:
            continue
        if count := row_count(model):
            return f"{count} {model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural}"
    return ""


def row_count(model: type[Model]) -> int:
    with connection.cursor() as cursor:  # an older version's table may lack a column
        cursor.execute(f"SELECT COUNT(*) FROM {connection.ops.quote_name(model._meta.db_table)}")  # noqa: S608
        return int(cursor.fetchone()[0])
