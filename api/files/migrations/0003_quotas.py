"""What an owner's files take is the sum of an index. On PostgreSQL it is made without holding the table."""

from importlib import import_module

from django.db import migrations, models

AddIndex = import_module("api.jobs.migrations.0011_hot_updates").AddIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("files", "0002_upload_expiry"), ("jobs", "0011_hot_updates")]
    operations = [
        AddIndex(model_name="storedfile", index=models.Index(fields=["owner_key", "size"], name="file_owner_size")),
    ]
