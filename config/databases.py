"""DATABASE_URL to Django's DATABASES, tuned for a queue (shared reasoning: GUARANTEES, 'Settings that follow')."""

from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config.env import absolute_path

# FULL: an accepted job survives a power cut. WAL: readers never wait for the writer.
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000;"
# A forgotten transaction must not hold the queue: the server itself ends it.
POSTGRES_TIMEOUTS = (
    "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
)
# The queue's statements are the only prepared ones, and find rows by an index whatever their parameters are. Left to itself, PostgreSQL
# compares the cost of a plan for all parameters with that of plans made when the table was small, and plans each claim anew: 0.6 ms.
POSTGRES_PLANS = "-c plan_cache_mode=force_generic_plan"


def read_database(url: str, data_dir: Path) -> dict[str, Any]:
    if not url:
        return sqlite_database(data_dir / "darkroom.sqlite3")
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(url))
    except (ValueError, KeyError):
        raise ImproperlyConfigured(
            "DATABASE_URL is not a database URL; postgresql://user:password@host:5432/name is. What is no letter or digit in the password"
            " is written as % and two digits: # as %23, / as %2F, @ as %40."
        ) from None
    if parsed["ENGINE"].endswith("sqlite3"):
        return sqlite_database(sqlite_path(str(parsed["NAME"])))
    if parsed["ENGINE"].endswith("postgresql"):
        return postgres_database(parsed)
    raise ImproperlyConfigured("DATABASE_URL must begin with postgresql:// or sqlite:///.")


def sqlite_path(name: str) -> Path:
    if name in ("", ":memory:"):
        raise ImproperlyConfigured(
            "DATABASE_URL names no file: each process would have a database of its own, in memory. Write one, as in"
            " sqlite:////data/darkroom.sqlite3, or unset it."
        )
    return absolute_path("DATABASE_URL", name)


def sqlite_database(path: Path) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,  # a new connection reads the whole schema: with a worker that takes longer than to claim a job
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_PRAGMAS},
        "TEST": {"NAME": path.with_name("test.sqlite3")},
    }


def postgres_database(parsed: dict[str, Any]) -> dict[str, object]:
    if not parsed["NAME"]:
        raise ImproperlyConfigured("DATABASE_URL names no database: postgresql://user:password@host:5432/name does.")
    refuse_unknown_options(parsed.get("OPTIONS", {}))
    pool = {"min_size": 1, "max_size": 16, "timeout": 3}
    options = {
        **parsed.get("OPTIONS", {}),
        "pool": pool,
        "options": f"{POSTGRES_TIMEOUTS} {POSTGRES_PLANS}",
        "prepare_threshold": 0,
    }
    return {**parsed, "ENGINE": "config.postgres", "CONN_MAX_AGE": 0, "OPTIONS": options}


def refuse_unknown_options(options: dict[str, Any]) -> None:
    """What follows the '?': else the pool only says that it waited in vain."""
    if not options:
        return
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    for name, value in options.items():
        try:
            make_conninfo(**{name: value})
        except ProgrammingError:
            raise ImproperlyConfigured(
                f"DATABASE_URL has the option {name!r} after its '?', which PostgreSQL doesn't know; sslmode is such an option."
            ) from None
