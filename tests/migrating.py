"""The database as an earlier migration left it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


@contextmanager
def migrated_back(app: str, name: str) -> Iterator[Any]:
    """The models as they were then; afterwards every migration is applied again, also those of other apps that stand on later ones."""
    MigrationExecutor(connection).migrate([(app, name)])
    executor = MigrationExecutor(connection)
    try:
        yield executor.loader.project_state([(app, name)]).apps
    finally:
        executor.migrate(executor.loader.graph.leaf_nodes())
