"""Makes the indexes by which PostgreSQL finds words in the prompts of jobs and pictures, and the jobs of one API, without reading all rows.

The server goes on meanwhile; millions of rows take minutes. Stopped or failed, run it again. `--drop` takes them away.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.jobs.store.word_index import index_name, is_valid
from api.system.management.commands.migrate import allow_long_statements
from api.system.migration_lock import migration_lock

WORDS = 'USING gin (UPPER("prompt") gin_trgm_ops)'
INDEXES = {
    "jobs_job_source": (Job, '("source", "id" DESC)'),
    index_name(Job): (Job, WORDS),
    index_name(GeneratedImage): (GeneratedImage, WORDS),
}


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drop", action="store_true", help="take the indexes away")

    def handle(self, *args: Any, drop: bool, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("SQLite has no such index: searches read the rows. Nothing was changed.")
        with migration_lock():
            allow_long_statements()
            if not drop:
                self.add_extension()
            for name in INDEXES:
                self.drop(name) if drop else self.create(name)

    def add_extension(self) -> None:
        try:
            execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except DatabaseError as error:
            raise CommandError(
                f"PostgreSQL doesn't add its extension pg_trgm ({first_line(error)}). Searches read the rows, as before. Whoever owns the "
                "database may run CREATE EXTENSION pg_trgm; then run this again."
            ) from None

    def create(self, name: str) -> None:
        model, columns = INDEXES[name]
        if is_valid(name):
            self.stdout.write(f"{name} is there.")
            return
        self.drop(name)
        self.stdout.write(f"Making {name} …")
        self.stdout.flush()
        try:
            execute(f'CREATE INDEX CONCURRENTLY "{name}" ON "{model._meta.db_table}" {columns}')
        except DatabaseError as error:
            raise CommandError(f"{name} could not be made ({first_line(error)}). Run this again.") from None
        execute(f'ANALYZE "{model._meta.db_table}"')  # how rare a word is: the planner walks ids where it is not
        self.stdout.write(self.style.SUCCESS(f"{name} is made."))

    def drop(self, name: str) -> None:
        if is_valid(name) is not None:
            execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
            self.stdout.write(f"{name} is removed.")


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
