from django.db import migrations

import api.jobs.identifiers

BATCH = 1000


def keep_stars_as_rows(apps, schema_editor):
    """The stars that pictures have become their owners' ratings."""
    pictures = apps.get_model("images", "GeneratedImage").objects.filter(rating__gte=1, rating__lte=5)
    Rating = apps.get_model("scoring", "Rating")
    rows = []
    for file, owner_key, stars in pictures.order_by("pk").values_list("pk", "owner_key", "rating").iterator(BATCH):
        rows.append(Rating(id=api.jobs.identifiers.uuid7(), file_id=file, owner_key=owner_key, stars=stars))
        if len(rows) == BATCH:
            Rating.objects.bulk_create(rows, ignore_conflicts=True)
            rows = []
    Rating.objects.bulk_create(rows, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("images", "0001_initial"), ("scoring", "0002_judgements")]
    operations = [migrations.RunPython(keep_stars_as_rows, migrations.RunPython.noop)]
