"""On PostgreSQL: heartbeats and progress of running jobs change no index, and find room for the new row beside the old one."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

# A job's row is written four times and more. Where its page has room, a change of no indexed column writes no index (HOT).
# Autovacuum waits for a fifth of a table to be dead: with ten million rows of history that is for ever, and the queue's indexes grow.
STORAGE = {
    "jobs_job": "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.01",
    "jobs_worker": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500",
    "jobs_jobending": "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02",
}


class AddIndex(AddIndexConcurrently):
    """SQLite has no other way than to hold the table, which takes a moment there."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        operation = migrations.AddIndex if schema_editor.connection.vendor == "sqlite" else AddIndexConcurrently
        operation.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        operation = migrations.AddIndex if schema_editor.connection.vendor == "sqlite" else AddIndexConcurrently
        operation.database_backwards(self, app_label, schema_editor, from_state, to_state)


class RemoveIndex(RemoveIndexConcurrently):
    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        operation = migrations.RemoveIndex if schema_editor.connection.vendor == "sqlite" else RemoveIndexConcurrently
        operation.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        operation = migrations.RemoveIndex if schema_editor.connection.vendor == "sqlite" else RemoveIndexConcurrently
        operation.database_backwards(self, app_label, schema_editor, from_state, to_state)


def set_storage(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for table, options in STORAGE.items():
            schema_editor.execute(f"ALTER TABLE {table} SET ({options})")


def reset_storage(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for table, options in STORAGE.items():
            names = ", ".join(option.partition(" ")[0] for option in options.split(", "))
            schema_editor.execute(f"ALTER TABLE {table} RESET ({names})")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("jobs", "0010_draining")]
    operations = [
        AddIndex(
            model_name="job",
            index=models.Index(condition=models.Q(("status", "running")), fields=["virtual_start"], name="job_running"),
        ),
        AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("only_worker_id__isnull", False), ("status", "queued")),
                fields=["only_worker_id"],
                name="job_addressed",
            ),
        ),
        RemoveIndex(model_name="job", name="job_leases"),
        migrations.RunPython(set_storage, reset_storage),
    ]
