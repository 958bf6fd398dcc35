"""What an owner can mend, as one sentence with its cure: for commands and for the start of the server, in place of a traceback."""

import re
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.db import InterfaceError, OperationalError, ProgrammingError

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ".venv/bin/python -m pip install -r"
NO_TABLE = re.compile(r"no such table|relation .* does not exist")
CONNECTION_WORDS = {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert", "service"}
# SQLite's own words for what is wrong with a file, its folder or its disk; its other errors are ours to mend.
SQLITE_FILE = re.compile(
    r"unable to open database file|readonly database|not a database|database is locked|disk|malformed", re.IGNORECASE
)


def sentence_for(error: BaseException) -> str | None:
    """None for an error that nobody but a programmer can mend: its traceback is then what is wanted."""
    if isinstance(error, ImproperlyConfigured):
        return f"Darkroom can't start: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_module(error.name.partition(".")[0])
    if isinstance(error, DatabaseFailure):
        return database_failure(error)
    return None


# ---------------------------------------------------------------- packages


def missing_module(module: str) -> str | None:
    """None for a module of this project: that is no package which can be installed."""
    if (ROOT / module).exists():
        return None
    file = requirements_file(module)
    return f"The Python package of the module '{module}' is not installed. This installs it: {INSTALL} {file}"


def requirements_file(module: str) -> str:
    """The file that lists the package of `module` itself; requirements.txt where none does, since packages bring others along."""
    for file in ("requirements.txt", "requirements-dev.txt"):
        listed = re.findall(r"^[A-Za-z0-9_.-]+", (ROOT / file).read_text(), re.MULTILINE)
        if any(re.fullmatch(rf"{module}(-python)?", name.replace("_", "-"), re.IGNORECASE) for name in listed):
            return file
    return "requirements.txt"


# ---------------------------------------------------------------- the database


def database_failure(error: DatabaseFailure) -> str | None:
    from django.db import connection

    reason = first_line(error)
    if NO_TABLE.search(reason) and isinstance(error, OperationalError | ProgrammingError):
        return "The database's tables are not made yet: run `.venv/bin/python manage.py migrate`, or ./start.sh, which does it."
    settings: dict[str, object] = connection.settings_dict
    if connection.vendor == "sqlite":
        if not SQLITE_FILE.search(reason):
            return None
        cure = (
            "Check that this account may write to that file and its folder, or set DATA_DIR (or DATABASE_URL) to another place."
        )
        return f"The database {settings['NAME']} can't be used: {reason}. {cure}"
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    return postgres_failure(connection) or postgres_sentence(settings, reason)


def postgres_sentence(settings: dict[str, Any], reason: str) -> str:
    place = f"{settings['HOST'] or 'localhost'}:{settings['PORT'] or 5432}"
    return f"The database {settings['NAME']!r} at {place} can't be reached: {reason}. Start it, or correct DATABASE_URL."


def postgres_failure(connection: Any) -> str:
    """By a connection of its own, which has the server's words; the pool only says that it waited in vain. '' where there is none."""
    import psycopg

    parameters = {name: value for name, value in connection.get_connection_params().items() if name in CONNECTION_WORDS}
    try:
        psycopg.connect(**parameters, connect_timeout=3).close()
    except psycopg.Error as error:
        return postgres_sentence(connection.settings_dict, first_line(error))
    return ""


def first_line(error: BaseException) -> str:
    """Without the address, which libpq puts before its reason and the sentence has already."""
    lines = str(error).strip().splitlines() or [error.__class__.__name__]
    return re.sub(r"^(connection failed: )?(connection to server .*? failed: )?(FATAL: +)?", "", lines[0]).rstrip(". ")
