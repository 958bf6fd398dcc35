"""SQLite's database, copied by its own online backup and put back by it: both are one transaction, and others go on meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from django.db import connection

from api.files.models import StoredFile
from api.system.backup.errors import BackupError
from api.system.backup.progress import Tell

PAGES = 2048
ROWS = f"SELECT id, name, thumbnail_name, sha256 FROM {StoredFile._meta.db_table} ORDER BY id"  # noqa: S608
Row = tuple[str, str, str | None, str]


def dump(path: Path, tell: Tell) -> Iterator[Row]:
    """Writes `path`, and gives the rows of files in it.

    The transaction that reads is begun first: so the copy is of one moment. Without it, the copy would begin anew with every commit of
    others, and never end under load.
    """
    copy_database(database_path(), path, tell)
    leave_out_sessions(path)
    with closing(sqlite3.connect(path)) as copied:
        yield from copied.execute(ROWS)


def copy_database(source: Path, target: Path, tell: Tell, *, timeout: float = 60) -> None:
    with closing(sqlite3.connect(source)) as before, closing(sqlite3.connect(target, timeout=timeout)) as after:
        before.execute("BEGIN")
        before.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
        pages = PAGES if tell.is_wanted else -1
        before.backup(after, pages=pages, progress=lambda _, left, all: tell(f"database: {all - left} of {all} pages"))


def leave_out_sessions(path: Path) -> None:
    """Whoever had the copy could go on with the log-ins of others. Nothing of them stays in free pages, nor in a journal."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copied:
        copied.execute("PRAGMA journal_mode=DELETE")
        copied.execute("PRAGMA secure_delete=ON")
        copied.execute("DELETE FROM django_session")
    path.chmod(0o600)


def restore(path: Path, tell: Tell) -> None:
    """In place of all that is there; a copy that is stopped changes nothing."""
    connection.close()
    with closing(sqlite3.connect(path)) as copied:
        if copied.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise BackupError(f"{path} is damaged, as SQLite says. Nothing was changed; name another backup.")
    try:
        copy_database(path, database_path(), Tell.silent(), timeout=10)
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise BackupError("The database is in use: stop the server, and run the command again.") from error
        raise


def database_path() -> Path:
    return Path(connection.settings_dict["NAME"])
