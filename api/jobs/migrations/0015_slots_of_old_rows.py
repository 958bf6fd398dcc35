"""Rows that were queued before there were slots are all at 0: a new owner would wait behind every one of them. Each owner's get slots that
follow each other, from the first slot of the queue on. By the key of each row: PostgreSQL, which knows little of a table that has grown
lately, joins 100,000 rows by comparing each with each.
"""

from collections import Counter
from typing import Any

from django.db import migrations
from django.db.models import Min

GIVE = "UPDATE jobs_job SET virtual_start = %s, virtual_finish = %s, owner_order = %s WHERE id = %s AND status = 'queued'"


def give_slots(apps: Any, schema_editor: Any) -> None:
    job, connection = apps.get_model("jobs", "Job"), schema_editor.connection
    queued = job.objects.filter(status="queued").order_by("id")
    first = queued.filter(virtual_start__gte=0, virtual_finish__gt=0).aggregate(start=Min("virtual_start"))["start"] or 0.0
    turns: Counter[str] = Counter()
    slots = []
    for key, owner in queued.filter(virtual_start=0, virtual_finish=0).values_list("id", "owner_key"):
        start = first + turns[owner]
        slots.append((start, start + 1.0, start, job._meta.pk.get_db_prep_value(key, connection)))
        turns[owner] += 1
    with connection.cursor() as cursor:
        cursor.executemany(GIVE, slots)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0014_worker_process")]
    operations = [migrations.RunPython(give_slots, migrations.RunPython.noop)]
