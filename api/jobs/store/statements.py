"""Running a statement of the queue on either database."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections


def current_database() -> Any:
    """This thread's connection itself: each attribute of `django.db.connection` is looked up through two proxies."""
    return connections[DEFAULT_DB_ALIAS]


@cache
def is_postgres() -> bool:
    """Asked several times for each statement; a process has one database."""
    return connection.vendor == "postgresql"


def run(statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Its rows. PostgreSQL reads and plans it once for each connection: that takes longer than running it."""
    database = current_database()
    if is_postgres():
        return database.run_prepared(statement, params)  # type: ignore[no-any-return]
    if not database.execute_wrappers and not database.queries_logged:
        return run_on_sqlite(database, statement, params)
    with database.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()  # type: ignore[no-any-return]


def run_on_sqlite(database: Any, statement: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The same without Django's cursors, which take longer than most of these statements: a job of seven takes a fifth less time."""
    database.ensure_connection()
    database.validate_no_broken_transaction()
    with database.wrap_database_errors:
        return database.connection.execute(with_question_marks(statement), params).fetchall()  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def with_question_marks(statement: str) -> str:
    """`%s` as SQLite writes it."""
    return re.sub(r"(?<!%)%s", "?", statement).replace("%%", "%")
