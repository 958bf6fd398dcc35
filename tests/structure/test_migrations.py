"""The version before goes on serving while the tables are migrated, and may come back: a migration takes nothing away that it uses, and
asks nothing of its rows. What is no longer used goes in a later version, by a migration that says since which it is unused."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]
BEFORE_THE_RULE = {
    ("access", "0002_key_weight"),
    ("chat", "0002_branches"),  # made good by 0005_active_by_default
    ("images", "0002_origin_and_sources"),
    ("jobs", "0003_fair_order_and_placement"),
    ("system", "0002_job_counter"),
}
DJANGOS_OWN = {"admin", "auth", "contenttypes", "sessions"}


def our_migrations() -> Iterator[tuple[tuple[str, str], Migration]]:
    for key, migration in MigrationLoader(connection).disk_migrations.items():
        if key[0] not in DJANGOS_OWN:
            yield key, migration


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite makes a table anew for each change: its SQL tells nothing"
)
def test_the_version_before_can_use_the_tables_that_a_migration_leaves() -> None:
    linter = MigrationLinter(str(settings.BASE_DIR), no_cache=True, no_output=True)
    breaking = set()
    for key, migration in our_migrations():
        before = linter.nb_erroneous
        linter.lint_migration(migration)
        if linter.nb_erroneous > before and not hasattr(migration, "unused_since"):
            breaking.add(key)
    assert breaking == BEFORE_THE_RULE, "ARCHITECTURE.md, 'Migrations', says how to take something away"


def test_what_a_migration_takes_away_is_unused_since_an_earlier_version() -> None:
    for key, migration in our_migrations():
        since = getattr(migration, "unused_since", None)
        if since is not None:
            assert numbers(since) < numbers(str(settings.SPECTACULAR_SETTINGS["VERSION"])), key


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
