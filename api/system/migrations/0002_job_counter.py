"""Counting from the outbox. What the counters hold stays; what has ended since the last count enters the outbox."""

from django.db import migrations, models


def add_uncounted_endings(apps, schema_editor):
    mark = apps.get_model("system", "TallyMark").objects.first()
    if mark is None:  # nobody has counted yet
        return
    ended = apps.get_model("jobs", "Job").objects.filter(id__gte=mark.oldest_open, finished_at__gt=mark.counted_until)
    fields = ("id", "kind", "model_id", "owner_key", "status", "started_at", "finished_at")
    ending = apps.get_model("jobs", "JobEnding")
    ending.objects.bulk_create(
        (
            ending(
                job_id=job.id,
                kind=job.kind,
                model_id=job.model_id,
                owner_key=job.owner_key,
                status=job.status,
                seconds=(job.finished_at - job.started_at).total_seconds() if job.started_at else None,
                created_at=job.finished_at,
            )
            for job in ended.only(*fields).order_by("finished_at").iterator()
        ),
        batch_size=500,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("system", "0001_initial"),
        ("jobs", "0002_outbox_and_parents"),
    ]

    operations = [
        migrations.RunPython(add_uncounted_endings, migrations.RunPython.noop),
        migrations.DeleteModel(name="TallyMark"),
        migrations.RemoveConstraint(model_name="jobtally", name="tally_once"),
        migrations.RenameModel(old_name="JobTally", new_name="JobCounter"),
        migrations.AlterField(
            model_name="jobcounter",
            name="buckets",
            field=models.JSONField(
                default=list,
                help_text="How many ran for at most counters.BUCKETS[i] seconds, and longer than the bucket before.",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobcounter",
            constraint=models.UniqueConstraint(fields=("kind", "model_id", "status"), name="job_counter_once"),
        ),
    ]
