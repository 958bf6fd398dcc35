"""Django's own `migrate`, by one process at a time, and with as much time as a table of many rows takes."""

from typing import Any

from django.core.management.commands.migrate import Command as DjangoCommand
from django.db import connection

from api.system.migration_lock import migration_lock

READS_ONLY = ("plan", "check_unapplied")


class Command(DjangoCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        if any(options[name] for name in READS_ONLY):
            super().handle(*args, **options)
            return
        with migration_lock():
            allow_long_statements()
            super().handle(*args, **options)


def allow_long_statements() -> None:
    """An index of millions of rows takes minutes. How long a statement waits for others (lock_timeout) stays bounded: meanwhile requests
    would wait for it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
