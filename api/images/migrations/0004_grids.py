from django.db import migrations, models


def name_grids(apps, schema_editor):
    """A grid's picture was called annotated before."""
    images = apps.get_model("images", "GeneratedImage").objects.using(schema_editor.connection.alias)
    images.filter(origin="annotated", job__kind="grid").update(origin="grid")


def call_them_annotated(apps, schema_editor):
    images = apps.get_model("images", "GeneratedImage").objects.using(schema_editor.connection.alias)
    images.filter(origin="grid").update(origin="annotated")


class Migration(migrations.Migration):
    dependencies = [("images", "0003_presets"), ("jobs", "0006_job_source")]

    operations = [
        migrations.AlterField(
            model_name="generatedimage",
            name="origin",
            field=models.CharField(
                choices=[
                    ("generated", "Generated"),
                    ("edited", "Edited"),
                    ("upscaled", "Upscaled"),
                    ("preprocessed", "Preprocessed"),
                    ("annotated", "Annotated"),
                    ("grid", "Grid"),
                    ("uploaded", "Uploaded"),
                ],
                default="generated",
                max_length=12,
            ),
        ),
        migrations.RunPython(name_grids, call_them_annotated),
    ]
