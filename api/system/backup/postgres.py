"""PostgreSQL's database, by pg_dump and pg_restore, which come with it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psycopg
from django.db import connection

from api.files.models import StoredFile
from api.system.backup.errors import BackupError
from api.system.backup.progress import Tell

ROWS = f"SELECT id::text, name, thumbnail_name, sha256 FROM {StoredFile._meta.db_table} ORDER BY id"  # noqa: S608
INSTALLED = "/usr/lib/postgresql/*/bin"
VARIABLES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSERVICE": "service",
}
"""libpq's; what is given by them is in no list of processes."""
ROWS_AT_ONCE = 2000
Row = tuple[str, str, str | None, str]


def dump(path: Path, tell: Tell) -> Iterator[Row]:
    """Writes `path`, and gives the rows of files of the same snapshot."""
    program = find_program("pg_dump")
    with psycopg.connect(
        **connection_words(), options="-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    ) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = str(reader.execute("SELECT pg_export_snapshot()").fetchone()[0])  # type: ignore[index]
        command = [program, "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={path}"]
        run([*command, "--exclude-table-data=django_session"], path, tell)
        path.chmod(0o600)
        with reader.cursor("files") as rows:
            rows.itersize = ROWS_AT_ONCE
            yield from rows.execute(ROWS)


def run(command: list[str], path: Path, tell: Tell) -> None:
    """pg_dump says nothing of its progress: the file grows."""
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        while True:
            try:
                _, errors = process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                tell(f"database: {(path.stat().st_size if path.exists() else 0) / 1e6:.0f} MB written")
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise failure("pg_dump", errors)


def failure(program: str, errors: str) -> Exception:
    """A full disk by its own error: what is done about it is the same wherever it is met."""
    reason = errors.strip().splitlines()[0] if errors.strip() else "no reason given"
    if "No space left on device" in errors:
        return OSError(28, "No space left on device")
    return BackupError(f"{program} failed: {reason.removeprefix(program).lstrip(': ')}. Mend that, and run the command again.")


def restore(path: Path, tell: Tell) -> None:
    """In place of our tables, in one transaction: one that is stopped changes nothing."""
    reader, writer = find_program("pg_restore"), find_program("psql")
    read = [reader, "--no-owner", "--no-privileges", "--file=-", str(path)]
    write = [writer, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    drops = drop_statements()
    connection.close()
    database = subprocess.Popen(write, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    script = subprocess.Popen(read, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        feed(script, database, drops, tell)
    finally:
        for process in (script, database):
            process.kill()
            process.wait()


def feed(script: "subprocess.Popen[bytes]", database: "subprocess.Popen[bytes]", drops: str, tell: Tell) -> None:
    """Committed by the last line alone: where this process or pg_restore is killed, psql reads an end without it."""
    given: IO[bytes] = database.stdin  # type: ignore[assignment]
    sent = 0
    try:
        given.write(f"BEGIN;\n{drops}".encode())
        while block := script.stdout.read(2**20):  # type: ignore[union-attr]
            given.write(block)
            sent += len(block)
            tell(f"database: {sent / 1e6:.0f} MB read")
    except BrokenPipeError:
        raise failure("psql", database.stderr.read().decode()) from None  # type: ignore[union-attr]
    if script.wait():
        raise failure("pg_restore", script.stderr.read().decode())  # type: ignore[union-attr]
    _, errors = database.communicate(b"COMMIT;\n")
    if database.returncode:
        raise failure("psql", errors.decode())


def drop_statements() -> str:
    """Of the tables that the dump makes anew; a newer version's tables that refer to them go, too."""
    names = [*connection.introspection.django_table_names(only_existing=True, include_views=False), "django_migrations"]
    return "".join(f"DROP TABLE IF EXISTS {connection.ops.quote_name(name)} CASCADE;\n" for name in names)


# ---------------------------------------------------------------- programs


def find_program(name: str) -> str:
    """The newest that is installed. Raises BackupError where there is none, or it is older than the server."""
    with connection.cursor():
        server = connection.pg_version // 10000  # type: ignore[attr-defined]
    found = programs(name)
    cure = f"Install it, for example with `apt-get install postgresql-client-{server}`, and run the command again."
    if not found:
        raise BackupError(f"{name} is not installed, which the database needs here (PostgreSQL {server}). {cure}")
    newest = max(found, key=major_version)
    if major_version(newest) < server:
        raise BackupError(f"{newest} is of version {major_version(newest)}, older than the server's {server}. {cure}")
    return newest


def programs(name: str) -> list[str]:
    """On the PATH, and where Debian keeps those of several versions beside each other."""
    paths = [shutil.which(name), *(shutil.which(name, path=str(folder)) for folder in Path("/").glob(INSTALLED[1:]))]
    return [path for path in paths if path]


def major_version(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    number = re.search(r"\d+", said)
    return int(number.group()) if number else 0


def connection_words() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {name: known[name] for name in VARIABLES.values() if known.get(name)}


def environment() -> dict[str, str]:
    given = connection_words()
    quiet = {"PGOPTIONS": "-c client_min_messages=warning -c statement_timeout=0"}
    return {**os.environ, **quiet, **{variable: str(given[name]) for variable, name in VARIABLES.items() if name in given}}
