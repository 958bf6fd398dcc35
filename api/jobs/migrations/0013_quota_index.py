"""On PostgreSQL without holding the table."""

from importlib import import_module

from django.db import migrations, models

AddIndex = import_module("api.jobs.migrations.0011_hot_updates").AddIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("jobs", "0012_quotas")]
    operations = [
        AddIndex(
            model_name="jobending",
            index=models.Index(condition=models.Q(("counted", False)), fields=["owner_key"], name="ending_uncounted_owner"),
        ),
    ]
