"""On PostgreSQL without holding the table. file_owner_size stays for the version before."""

from importlib import import_module

from django.db import migrations, models

AddIndex = import_module("api.jobs.migrations.0011_hot_updates").AddIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("files", "0004_kept_bytes"), ("jobs", "0011_hot_updates")]
    operations = [
        AddIndex(
            model_name="storedfile",
            index=models.Index(fields=["owner_key", "created_at", "size"], name="file_owner_age"),
        ),
    ]
