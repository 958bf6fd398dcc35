"""What an owner can mend, as one sentence with its cure: for commands and for the start of the server, in place of a traceback."""

import os
import re
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.db import InterfaceError, NotSupportedError, OperationalError, ProgrammingError

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ".venv/bin/python -m pip install -r"
NO_TABLE = re.compile(r"no such table|relation .* does not exist")
CONNECTION_WORDS = {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert", "service"}
# SQLite's own words for what is wrong with a file, its folder or its disk; its other errors are ours to mend.
SQLITE_FILE = re.compile(
    r"unable to open database file|readonly database|not a database|database is locked|disk|malformed", re.IGNORECASE
)
POSTGRES_CURES = (
    (r"resolve host|name or service not known", "Correct the host in DATABASE_URL"),
    (r"^database .* does not exist", "Create it (`createdb {name}`), or correct the name in DATABASE_URL"),
    (
        r"password|^role .* (does not exist|is not permitted to log in)",
        "Correct the user and the password in DATABASE_URL, where what is no letter or digit is written as %23",
    ),
    (r"pg_hba\.conf", "Let this machine, user and database in by the server's pg_hba.conf, or correct DATABASE_URL"),
    (r"ssl|certificate", "Correct sslmode (and sslrootcert) in DATABASE_URL, or switch TLS on in the server"),
    (r"too many|connection slots", "Raise its max_connections, or run fewer web processes and workers"),
    (r"timeout", "See whether host and port are right and no firewall is between, or correct DATABASE_URL"),
)
"""By PostgreSQL's and libpq's own words."""
OLDEST_POSTGRES = 14  # Django's own limit


def sentence_for(error: BaseException) -> str | None:
    """None for an error that nobody but a programmer can mend: its traceback is then what is wanted."""
    if isinstance(error, ImproperlyConfigured):
        return f"Darkroom can't start: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_module(error.name)
    if isinstance(error, ImportError) and "does not contain a" in str(error):  # Django's, of a name in INSTALLED_APPS
        return f"Darkroom can't start: EXTRA_APPS names what is not there. {error}"
    if isinstance(error, DatabaseFailure):
        return database_failure(error)
    return None


# ---------------------------------------------------------------- packages


def missing_module(name: str) -> str | None:
    """None for a module of this project: that is no package which can be installed."""
    module = name.partition(".")[0]
    if (ROOT / module).exists():
        return None
    file, extra = requirements_file(module), os.environ.get("EXTRA_APPS", "")
    if extra and (not file or "." in name):
        needs = f"there is no module '{name}', which EXTRA_APPS ({extra}) names or one of its apps imports"
        return f"Darkroom can't start: {needs}. Install it, or correct the name."
    file = file or "requirements.txt"  # packages bring others along
    return f"The Python package of the module '{module}' is not installed. This installs it: {INSTALL} {file}"


def requirements_file(module: str) -> str:
    """The file that lists the package of `module` itself; '' where none does."""
    for file in ("requirements.txt", "requirements-dev.txt"):
        listed = re.findall(r"^[A-Za-z0-9_.-]+", (ROOT / file).read_text(), re.MULTILINE)
        if any(re.fullmatch(rf"{module}(-python)?", name.replace("_", "-"), re.IGNORECASE) for name in listed):
            return file
    return ""


# ---------------------------------------------------------------- the database


def database_failure(error: DatabaseFailure) -> str | None:
    from django.db import connection

    reason = first_line(error)
    if NO_TABLE.search(reason) and isinstance(error, OperationalError | ProgrammingError):
        return "The database's tables are not made yet: run `.venv/bin/python manage.py migrate`, or ./start.sh, which does it."
    settings: dict[str, object] = connection.settings_dict
    if "permission denied" in reason:
        return no_rights(settings)
    if isinstance(error, NotSupportedError):
        return f"The database can't be used: {reason}. Use a newer one."
    if connection.vendor == "sqlite":
        if not SQLITE_FILE.search(reason):
            return None
        cure = (
            "Check that this account may write to that file and its folder, or set DATA_DIR (or DATABASE_URL) to another place."
        )
        reason = reason if Path(str(settings["NAME"])).parent.is_dir() else "its folder is not there"
        return f"The database {settings['NAME']} can't be used: {reason}. {cure}"
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    return postgres_failure(connection) or postgres_sentence(settings, reason)


def no_rights(settings: dict[str, Any]) -> str:
    user, name = settings["USER"], settings["NAME"]
    cure = f"Grant it, as the owner of that database: GRANT ALL ON SCHEMA public TO {user}; and give it the tables, if they are another's."
    return f"The user {user!r} may not make or change tables in the database {name!r}. {cure}"


def postgres_sentence(settings: dict[str, Any], reason: str) -> str:
    place = f"{settings['HOST'] or 'localhost'}:{settings['PORT'] or 5432}"
    found = (cure for pattern, cure in POSTGRES_CURES if re.search(pattern, reason, re.IGNORECASE))
    cure = next(found, "Start it, or correct DATABASE_URL").format(name=settings["NAME"])
    return f"The database {settings['NAME']!r} at {place} can't be reached: {reason}. {cure}."


def postgres_failure(connection: Any) -> str:
    """By a connection of its own, which has the server's words; the pool only says that it waited in vain. '' where there is none."""
    import psycopg

    parameters = {name: value for name, value in connection.get_connection_params().items() if name in CONNECTION_WORDS}
    try:
        with psycopg.connect(**parameters, connect_timeout=3) as session:
            return why_unfit(session.info)
    except psycopg.Error as error:
        return postgres_sentence(connection.settings_dict, first_line(error))


def why_unfit(server: Any) -> str:
    """'' for a server and a database that Darkroom can use. `server` is a psycopg.ConnectionInfo."""
    if server.server_version < OLDEST_POSTGRES * 10_000:
        version = server.server_version // 10_000
        return f"The server at {server.host}:{server.port} is PostgreSQL {version}. Use PostgreSQL {OLDEST_POSTGRES} or newer."
    encoding = server.parameter_status("server_encoding")
    if encoding != "UTF8":
        cure = f"Make it anew: createdb --encoding UTF8 --template template0 {server.dbname}."
        return f"The database {server.dbname!r} has the encoding {encoding}, in which most prompts can't be written. {cure}"
    return ""


def first_line(error: BaseException) -> str:
    """Without the address, which libpq puts before its reason and the sentence has already."""
    lines = str(error).strip().splitlines() or [error.__class__.__name__]
    return re.sub(r"^(connection failed: )?(connection to server .*? failed: )?(FATAL: +)?", "", lines[0]).rstrip(". ")
